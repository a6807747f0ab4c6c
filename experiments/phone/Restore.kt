// A photograph through a TFLite file, tile by tile, on Android, by LiteRT.
//
//     restore-jax export MODEL --to tflite --size 512x512 --uint8 --precision int8-weights -o restore.tflite
//     implementation("com.google.ai.edge.litert:litert:1.4.0")      // in build.gradle.kts; keeps the package's old name
//
// `Restorer(file, halo).restored(bitmap)`: the file takes y and answers x_hat, both 1 h w 3 of 8 bits. `halo` is how far
// its network sees, in pixels of y: the file's metadata say `halo_px` (of x_hat) and `scale`.

package org.restorejax.phone

import android.graphics.Bitmap
import java.io.Closeable
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Interpreter

/** Where a tile starts, and the part of the axis that it answers for. */
data class Part(val start: Int, val from: Int, val to: Int)

/** Tiles along `size` pixels, so that each pixel lies `halo` inside one of them, or at the edge. */
fun parts(size: Int, tile: Int, halo: Int): List<Part> {
    require(tile <= size) { "The photograph has $size pixels where the model takes $tile: export a smaller --size." }
    require(tile == size || tile > 2 * halo) { "A tile of $tile pixels has no room inside a halo of $halo." }
    val starts = (0 until size - tile step maxOf(1, tile - 2 * halo)).toMutableList()
    starts.add(size - tile)
    var reached = 0
    return starts.map { start ->
        val end = if (start + tile == size) size else start + tile - halo
        Part(start, reached, end).also { reached = end }
    }
}

class Restorer(file: File, private val halo: Int, threads: Int = 4) : Closeable {
    private val interpreter = Interpreter(file, Interpreter.Options().setNumThreads(threads))
    private val taken = interpreter.getInputTensorFromSignature("y", SIGNATURE).shape()
    private val answered = interpreter.getOutputTensorFromSignature("x_hat", SIGNATURE).shape()
    private val height = taken[1]
    private val width = taken[2]
    private val scale = answered[1] / height

    /** The restored photograph. */
    fun restored(photo: Bitmap, progress: (Int, Int) -> Unit = { _, _ -> }): Bitmap {
        val rows = parts(photo.height, height, halo)
        val columns = parts(photo.width, width, halo)
        val out = Bitmap.createBitmap(photo.width * scale, photo.height * scale, Bitmap.Config.ARGB_8888)
        val y = ByteBuffer.allocateDirect(height * width * 3).order(ByteOrder.nativeOrder())
        val x = ByteBuffer.allocateDirect(answered[1] * answered[2] * 3).order(ByteOrder.nativeOrder())
        val colours = IntArray(height * width)
        var done = 0
        for (row in rows) {
            for (column in columns) {
                photo.getPixels(colours, 0, width, column.start, row.start, width, height)
                y.rewind()
                for (colour in colours) {
                    y.put((colour shr 16).toByte()).put((colour shr 8).toByte()).put(colour.toByte())
                }
                y.rewind()
                x.rewind()
                interpreter.runSignature(mapOf<String, Any>("y" to y), mapOf<String, Any>("x_hat" to x), SIGNATURE)
                place(x, row, column, out)
                progress(++done, rows.size * columns.size)
            }
        }
        return out
    }

    private fun place(x: ByteBuffer, row: Part, column: Part, out: Bitmap) {
        val wide = (column.to - column.from) * scale
        val line = IntArray(wide)
        for (i in row.from * scale until row.to * scale) {
            val first = ((i - row.start * scale) * answered[2] + (column.from - column.start) * scale) * 3
            for (j in 0 until wide) {
                val red = x.get(first + 3 * j).toInt() and 255
                val green = x.get(first + 3 * j + 1).toInt() and 255
                val blue = x.get(first + 3 * j + 2).toInt() and 255
                line[j] = (255 shl 24) or (red shl 16) or (green shl 8) or blue
            }
            out.setPixels(line, 0, wide, column.from * scale, i, wide, 1)
        }
    }

    override fun close() = interpreter.close()

    private companion object {
        const val SIGNATURE = "serving_default"
    }
}
