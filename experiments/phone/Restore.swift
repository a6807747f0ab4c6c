// A photograph through a Core ML package, tile by tile, on a Mac or an iPhone.
//
//     restore-jax export MODEL --to coreml --size 512x512 --uint8 --precision fp16 -o Restore.mlpackage
//     xcrun coremlcompiler compile Restore.mlpackage . && swiftc -O Restore.swift -o restore
//     ./restore Restore.mlmodelc photo.jpg out.png
//
// The package takes the image `y` and answers the image `x_hat`; how far its network sees and how much it enlarges stand
// in its metadata, `halo_px` (of x_hat) and `scale`.

import CoreImage
import CoreML
import Foundation
import ImageIO
import UniformTypeIdentifiers

struct Failure: Error, CustomStringConvertible {
    let description: String
}

/// Where a tile starts, and the part of the axis that it answers for.
struct Part {
    let start: Int
    let from: Int
    let to: Int
}

/// Tiles along `size` pixels, so that each pixel lies `halo` inside one of them, or at the edge.
func parts(size: Int, tile: Int, halo: Int) throws -> [Part] {
    guard tile <= size else {
        throw Failure(description: "The photograph has \(size) pixels where the model takes \(tile): export a smaller --size.")
    }
    guard tile == size || tile > 2 * halo else {
        throw Failure(description: "A tile of \(tile) pixels has no room inside a halo of \(halo).")
    }
    var starts = Array(stride(from: 0, to: size - tile, by: max(1, tile - 2 * halo)))
    starts.append(size - tile)
    var reached = 0
    return starts.map { start in
        let end = start + tile == size ? size : start + tile - halo
        defer { reached = end }
        return Part(start: start, from: reached, to: end)
    }
}

struct Restorer {
    let model: MLModel
    let width: Int
    let height: Int
    let scale: Int
    let halo: Int
    private let context = CIContext(options: [.workingColorSpace: NSNull()])  // no colour is converted

    init(contentsOf url: URL) throws {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = .all
        model = try MLModel(contentsOf: url, configuration: configuration)
        guard let y = model.modelDescription.inputDescriptionsByName["y"]?.imageConstraint else {
            throw Failure(description: "The model's y is no image: export it with --uint8.")
        }
        (width, height) = (y.pixelsWide, y.pixelsHigh)
        let said = model.modelDescription.metadata[.creatorDefinedKey] as? [String: String] ?? [:]
        guard let scale = said["scale"].flatMap({ Int($0) }), let far = said["halo_px"].flatMap({ Int($0) }) else {
            throw Failure(description: "The model does not say its scale and halo_px: write it with restore-jax export.")
        }
        self.scale = scale
        halo = (far + scale - 1) / scale
    }

    /// The restored photograph, in its own colour space.
    func callAsFunction(_ photo: CGImage) throws -> CGImage {
        let rows = try parts(size: photo.height, tile: height, halo: halo)
        let columns = try parts(size: photo.width, tile: width, halo: halo)
        let space = photo.colorSpace ?? CGColorSpace(name: CGColorSpace.sRGB)!
        let opaque = CGImageAlphaInfo.noneSkipFirst.rawValue | CGBitmapInfo.byteOrder32Little.rawValue
        guard let out = CGContext(
            data: nil, width: photo.width * scale, height: photo.height * scale, bitsPerComponent: 8, bytesPerRow: 0,
            space: space, bitmapInfo: opaque)
        else { throw Failure(description: "\(photo.width) x \(photo.height) pixels do not fit into memory.") }
        for row in rows {
            for column in columns {
                let area = CGRect(x: column.start, y: row.start, width: width, height: height)
                let restored = try self.tile(photo.cropping(to: area)!, space: space, info: opaque)
                let inside = CGRect(
                    x: (column.from - column.start) * scale, y: (row.from - row.start) * scale,
                    width: (column.to - column.from) * scale, height: (row.to - row.from) * scale)
                // A CGContext counts rows from below, an image from above.
                let place = CGRect(
                    x: CGFloat(column.from * scale), y: CGFloat((photo.height - row.to) * scale),
                    width: inside.width, height: inside.height)
                out.draw(restored.cropping(to: inside)!, in: place)
            }
        }
        return out.makeImage()!
    }

    private func tile(_ part: CGImage, space: CGColorSpace, info: UInt32) throws -> CGImage {
        var buffer: CVPixelBuffer?
        let made = CVPixelBufferCreate(nil, width, height, kCVPixelFormatType_32BGRA, nil, &buffer)
        guard made == kCVReturnSuccess, let y = buffer else { throw Failure(description: "No pixel buffer: \(made).") }
        CVPixelBufferLockBaseAddress(y, [])
        let drawing = CGContext(
            data: CVPixelBufferGetBaseAddress(y), width: width, height: height, bitsPerComponent: 8,
            bytesPerRow: CVPixelBufferGetBytesPerRow(y), space: space, bitmapInfo: info)
        drawing?.draw(part, in: CGRect(x: 0, y: 0, width: width, height: height))
        CVPixelBufferUnlockBaseAddress(y, [])
        let given = try MLDictionaryFeatureProvider(dictionary: ["y": MLFeatureValue(pixelBuffer: y)])
        guard let x = try model.prediction(from: given).featureValue(for: "x_hat")?.imageBufferValue else {
            throw Failure(description: "The model answers no image x_hat: export it with --uint8.")
        }
        let image = CIImage(cvPixelBuffer: x, options: [.colorSpace: NSNull()])
        guard let restored = context.createCGImage(image, from: image.extent, format: .BGRA8, colorSpace: space) else {
            throw Failure(description: "The answer is no picture.")
        }
        return restored
    }
}

func main() throws {
    let given = CommandLine.arguments
    guard given.count == 4 else { throw Failure(description: "usage: restore MODEL.mlmodelc PHOTO OUT.png") }
    let restorer = try Restorer(contentsOf: URL(fileURLWithPath: given[1]))
    guard let source = CGImageSourceCreateWithURL(URL(fileURLWithPath: given[2]) as CFURL, nil),
        let photo = CGImageSourceCreateImageAtIndex(source, 0, nil)
    else { throw Failure(description: "\(given[2]) is not a photograph.") }
    let restored = try restorer(photo)
    let type = UTType.png.identifier as CFString
    guard let out = CGImageDestinationCreateWithURL(URL(fileURLWithPath: given[3]) as CFURL, type, 1, nil) else {
        throw Failure(description: "\(given[3]) cannot be written.")
    }
    CGImageDestinationAddImage(out, restored, CGImageSourceCopyPropertiesAtIndex(source, 0, nil))
    guard CGImageDestinationFinalize(out) else { throw Failure(description: "\(given[3]) cannot be written.") }
}

do {
    try main()
} catch {
    FileHandle.standardError.write(Data("restore: \(error)\n".utf8))
    exit(1)
}
