from restore_jax.photo import xmp


def test_orientation_and_size_in_both_spellings():
    packet = b"<a tiff:Orientation='6' x='6'><exif:PixelXDimension> 40 </exif:PixelXDimension></a>"
    out = xmp.edited(packet, 300, 400)
    assert out == b"<a tiff:Orientation='1' x='6'><exif:PixelXDimension>400</exif:PixelXDimension></a>"
    assert (xmp.orientation(packet), xmp.orientation(out), xmp.orientation(b"<a/>"), xmp.orientation(None)) == (
        6,
        1,
        None,
        None,
    )
    assert xmp.orientation(b"<tiff:Orientation>8</tiff:Orientation>") == 8


def test_place_is_taken_out_on_request():
    packet = b'<a exif:GPSLatitude="5" b="c"><exif:GPSLongitude>6</exif:GPSLongitude><exif:GPSAltitude/><d/></a>'
    assert xmp.edited(packet, 1, 1) == packet
    assert xmp.edited(packet, 1, 1, strip_gps=True) == b'<a b="c"><d/></a>'
