"""What is carried over means the same to programs nobody here wrote, and what is not is named."""

import io
from contextlib import closing

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from streamgmm.image.metadata import Metadata, srgb_profile
from streamgmm.image.open import open_image
from streamgmm.image.tiff.tags import CARRIED, STRUCTURAL, carried_over

from ...conftest import SHARED, shared_file
from ...images import smooth
from ..gdal import open_gdal
from ..tagged import (
    ASCII,
    BYTE,
    DOUBLE,
    GRAY_PROFILE,
    LAB_PROFILE,
    LONG,
    PACKET,
    RGB_PROFILE,
    SCALE,
    SHORT,
    TIEPOINT,
    TRANSFORMATION,
    UNDEFINED,
    UTM_AREA,
    georeferencing,
    read,
    write,
    write_metadata,
)


def name_of(tag):
    return tifffile.TIFF.TAGS[tag[0]]


# --- Georeferencing


@pytest.mark.collection
@pytest.mark.parametrize("name", [*sorted(f"geo/{path.name}" for path in SHARED.glob("geo/*")), "variants/gdal__tif_webp.tif"])
def test_a_geotiff_stays_where_it_is(name, tmp_path):
    path = shared_file(name)
    expected = georeferencing(path)
    with open_gdal(path) as image:
        output = write_metadata(tmp_path / "out.tif", read(path), image.shape)
    assert georeferencing(output) == expected


@pytest.mark.collection
def test_the_collection_has_georeferencing_of_every_kind():
    tags = {tag for path in SHARED.glob("[gv]*/*.tif") for tag, *_ in read(path).tags}
    assert tags >= {33550, 33922, 34264, 34735, 34736, 34737, 50844}


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("bigtiff", [False, True])
def test_georeferencing_keeps_its_values_and_types(byteorder, bigtiff, tiff):
    ascii_params = (34737, ASCII, 9, b"  a |\0b| \0")
    tags = (SCALE, TIEPOINT, TRANSFORMATION, UTM_AREA, (34736, DOUBLE, 1, (0.1,)), ascii_params)
    carried = tiff(*tags, byteorder=byteorder, bigtiff=bigtiff).tags
    assert [tag[:2] + tag[3:] for tag in carried] == sorted(tag[:2] + tag[3:] for tag in tags)
    assert [tag[2] for tag in carried] == [len(tag[3]) for tag in carried]


# --- GDAL's metadata

ITEMS = (
    '<GDALMetadata>\n  <Item name="SENSOR">ä &lt; b</Item>\n  <Item name="NAME" domain="TILING_SCHEME">x</Item>\n'
    '  <Item name="WEBP_LEVEL" domain="IMAGE_STRUCTURE">75</Item>\n'
    '  <Item name="STATISTICS_MEAN" sample="0">109.2</Item>\n'
    '  <Item name="DESCRIPTION" sample="1" role="description">A</Item>\n'
    '  <Item name="SCALE" sample="2" role="scale">0.5</Item>\n</GDALMetadata>\n'
)


def gdal_metadata(xml):
    return 42112, ASCII, 0, xml.encode()


def test_gdal_keeps_what_is_said_of_the_image_and_not_what_is_said_of_bands(tiff, tmp_path):
    metadata = tiff(gdal_metadata(ITEMS))
    with open_gdal(tmp_path / "in.tif") as before:
        assert before.tags(1) == {"STATISTICS_MEAN": "109.2"}
        assert before.descriptions[1] == "A"
        expected = before.tags(), before.tags(ns="TILING_SCHEME")
    with open_gdal(write_metadata(tmp_path / "out.tif", metadata, (40, 60))) as after:
        assert (after.tags(), after.tags(ns="TILING_SCHEME")) == expected
        assert expected[0]["SENSOR"] == "ä < b"
        assert after.tags(1) == {}
        assert after.descriptions == (None,)
        assert after.scales == (1,)
        assert "WEBP_LEVEL" not in after.tags(ns="IMAGE_STRUCTURE")
    assert metadata.dropped == ("GDAL_METADATA items of bands",)


def test_gdal_metadata_of_the_image_alone_keep_every_byte(tiff):
    xml = b"<GDALMetadata >\n<Item name='A'>b</Item></GDALMetadata>\0"
    metadata = tiff((42112, ASCII, 0, xml))
    assert metadata == Metadata(tags=((42112, ASCII, len(xml), xml),))


@pytest.mark.parametrize(
    ("xml", "dropped"),
    [
        ('<GDALMetadata><Item name="A" sample="0">b</Item></GDALMetadata>', ("GDAL_METADATA items of bands",)),
        ('<GDALMetadata><Item name="A" domain="IMAGE_STRUCTURE">b</Item></GDALMetadata>', ()),
        ("<GDALMetadata/>", ()),
        ("<GDALMetadata><Item>", ("GDAL_METADATA",)),
    ],
)
def test_no_tag_is_left_of_gdal_metadata_with_nothing_to_say(xml, dropped, tiff):
    assert tiff(gdal_metadata(xml)) == Metadata(dropped=dropped)


# --- Resolution


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [
        ((300, 200), 2, ((300.0, 200.0), 2)),
        (((1234567, 1000), (7, 3)), 3, ((1234.567, 7 / 3), 3)),
        ((2, 1), 1, ((2.0, 1.0), 1)),
        ((1, 1), 1, (None, 1)),
        ((1, 1), 3, ((1.0, 1.0), 3)),
        ((0, 72), 2, (None, 1)),
    ],
)
def test_resolution_of_the_tags(resolution, unit, expected, tiff):
    metadata = tiff(resolution=resolution, resolutionunit=unit)
    assert (metadata.resolution, metadata.resolution_unit) == expected
    assert metadata.dropped == ()


def overwrite(path, code, header=None, value=None):
    """Overwrite the type and count, or the place of the value, of a tag in a little-endian classic TIFF."""
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.tags[code].offset
    with open(path, "r+b") as file:
        if header:
            file.seek(offset + 2)
            file.write(header[0].to_bytes(2, "little") + header[1].to_bytes(4, "little"))
        if value is not None:
            file.seek(offset + 8)
            file.write(value.to_bytes(4, "little"))
    return path


@pytest.mark.parametrize("dtype", [SHORT, LONG])
@pytest.mark.parametrize(("value", "expected"), [(0, 1), (2, 2), (3, 3), (4, 1), (65535, 1)])
def test_a_unit_there_is_not_is_none(value, expected, dtype, tmp_path):
    path = overwrite(write(tmp_path / "in.tif", resolution=(300, 200), resolutionunit=2), 296, (dtype, 1), value)
    metadata = read(path)
    assert (metadata.resolution, metadata.resolution_unit) == ((300, 200), expected)


def test_a_resolution_without_unit_is_in_inches(tmp_path):
    path = write(tmp_path / "in.tif", resolution=(300, 200), resolutionunit=3)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.tags[296].offset
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write((297).to_bytes(2, "little"))
    metadata = read(path)
    assert (metadata.resolution, metadata.resolution_unit) == ((300, 200), 2)


@pytest.mark.parametrize("code", [282, 283])
def test_a_resolution_divided_by_zero_is_none(code, tmp_path):
    path = write(tmp_path / "in.tif", resolution=((301, 4), (303, 4)), resolutionunit=2)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.tags[code].valueoffset
    with open(path, "r+b") as file:
        file.seek(place + 4)
        file.write(bytes(4))
    assert read(path) == Metadata()


OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" {}/></Image><Image ID="Image:1"><Pixels PhysicalSizeX="9" PhysicalSizeY="9"/></Image></OME>'
)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ('PhysicalSizeX="0.5" PhysicalSizeY="0.25"', (20000, 40000)),
        ('PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="250" PhysicalSizeYUnit="nm"', (20000, 40000)),
        ('PhysicalSizeX="0.5" PhysicalSizeXUnit="µm" PhysicalSizeY="0.00025" PhysicalSizeYUnit="mm"', (20000, 40000)),
        ('PhysicalSizeX="5" PhysicalSizeXUnit="cm" PhysicalSizeY="0.5" PhysicalSizeYUnit="in"', (0.2, 1 / 1.27)),
        ('PhysicalSizeX="0.5" PhysicalSizeXUnit="pixel" PhysicalSizeY="0.25" PhysicalSizeYUnit="pixel"', None),
        ('PhysicalSizeX="0.5"', None),
        ('PhysicalSizeX="0" PhysicalSizeY="0"', None),
        ('PhysicalSizeX="-1" PhysicalSizeY="-1"', None),
        ('PhysicalSizeX="nan" PhysicalSizeY="inf"', None),
        ('PhysicalSizeX="1e-9" PhysicalSizeY="1e-9"', None),  # more than a RATIONAL can hold
        ("", None),
    ],
)
def test_resolution_of_ome_xml(sizes, expected, tiff):
    metadata = tiff(description=OME.format(sizes).encode())
    assert metadata.resolution == (expected and pytest.approx(expected))
    assert metadata.resolution_unit == (3 if expected else 1)
    assert metadata.dropped == ("ImageDescription (OME-XML)",)


@pytest.mark.parametrize(
    ("tags", "expected"), [((((300, 1)), 2), (300, 2)), (((72, 1), 1), (20000, 3)), (((0, 1), 3), (20000, 3))]
)
def test_tags_with_a_unit_come_before_ome_xml(tags, expected, tiff):
    resolution, unit = tags
    text = OME.format('PhysicalSizeX="0.5" PhysicalSizeY="0.5"').encode()
    metadata = tiff(description=text, resolution=(resolution, resolution), resolutionunit=unit)
    assert (metadata.resolution, metadata.resolution_unit) == ((expected[0], expected[0]), expected[1])


@pytest.mark.parametrize(
    ("unit", "per_cm"),
    [("micron", 1e4), ("um", 1e4), ("µm", 1e4), ("\\u00B5m", 1e4), ("nm", 1e7), ("mm", 10), ("cm", 1), ("inch", 1 / 2.54)],
)
def test_resolution_of_imagej_is_in_its_own_unit(unit, per_cm, tiff):
    text = f"ImageJ=1.53c\nimages=1\nunit={unit}\nloop=false\n".encode()
    metadata = tiff(description=text, resolution=(2, 4), resolutionunit=1)
    assert metadata.resolution == pytest.approx((2 * per_cm, 4 * per_cm))
    assert metadata.resolution_unit == 3
    assert metadata.dropped == ("ImageDescription (ImageJ)",)


@pytest.mark.parametrize("line", ["unit=pixel\n", "unit=\n", "", "myunit=cm\n"])
def test_imagej_without_a_unit_leaves_the_tags(line, tiff):
    metadata = tiff(description=f"ImageJ=1.53c\n{line}".encode(), resolution=(2, 4), resolutionunit=1)
    assert (metadata.resolution, metadata.resolution_unit) == ((2, 4), 1)


def test_imagej_itself_agrees(tmp_path):
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), imagej=True, resolution=(2.5, 5), metadata={"unit": "um"})
    metadata = read(path)
    assert metadata.resolution == pytest.approx((25000, 50000))
    assert metadata.dropped == ("ImageDescription (ImageJ)",)


def microns_per_pixel(path):
    with openslide.OpenSlide(path) as slide:
        return [float(slide.properties[f"openslide.mpp-{axis}"]) for axis in "xy"]


@pytest.mark.parametrize(("resolution", "unit"), [((40000.5, 20408.16), 3), ((300, (4294967295, 15155142)), 2)])
def test_openslide_sees_the_same_size_of_pixels(resolution, unit, tmp_path):
    path = write(tmp_path / "in.tif", shape=(256, 256, 3), tile=(64, 64), resolution=resolution, resolutionunit=unit)
    output = write_metadata(tmp_path / "out.tif", read(path), (256, 256))
    assert microns_per_pixel(output) == pytest.approx(microns_per_pixel(path), rel=1e-6)


@pytest.mark.collection
def test_openslide_sees_the_size_of_pixels_of_aperio(tmp_path):
    path = shared_file("wsi/algart__CMU-1-JP2K-Region.svs")
    metadata = read(path)
    assert "ImageDescription (Aperio)" in metadata.dropped
    output = write_metadata(tmp_path / "out.tif", metadata, (256, 256))
    assert microns_per_pixel(output) == pytest.approx(microns_per_pixel(path), rel=1e-6)
    assert microns_per_pixel(path) == [0.499, 0.499]


@pytest.mark.parametrize(("mpp", "expected"), [("|MPP = 0.5|Left = 2", (20000, 3)), ("|MPP = x", (72, 2)), ("", (72, 2))])
def test_aperio_comes_before_the_tags(mpp, expected, tiff):
    text = f"Aperio Image Library\r\n46000x32914|AppMag = 20{mpp}".encode()
    metadata = tiff(description=text, resolution=(72, 72), resolutionunit=2)
    assert (metadata.resolution, metadata.resolution_unit) == ((expected[0], expected[0]), expected[1])


# --- Color profiles


@pytest.mark.parametrize(("profile", "kept"), [(RGB_PROFILE, True), (LAB_PROFILE, False), (GRAY_PROFILE, False)])
def test_only_profiles_of_rgb_are_kept(profile, kept, tiff):
    expected = Metadata(icc=profile) if kept else Metadata(dropped=("InterColorProfile",))
    assert tiff(iccprofile=profile) == expected


@pytest.mark.parametrize("profile", [RGB_PROFILE[:-1], RGB_PROFILE[:128], b"RGB " * 50], ids=["cut", "header", "none"])
def test_a_damaged_profile_is_dropped(profile, tiff):
    assert tiff((34675, UNDEFINED, len(profile), profile)) == Metadata(dropped=("InterColorProfile",))


def test_converted_colors_are_srgb(tmp_path):
    assert read(write(tmp_path / "in.tif"), colors_converted=True) == Metadata(icc=srgb_profile())
    path = write(tmp_path / "rgb.tif", iccprofile=RGB_PROFILE)
    assert read(path, colors_converted=True) == Metadata(icc=srgb_profile(), dropped=("InterColorProfile",))
    path = write(tmp_path / "lab.tif", iccprofile=LAB_PROFILE)
    assert read(path, colors_converted=True) == Metadata(icc=srgb_profile(), dropped=("InterColorProfile",))


# --- Text, XMP and orientation


@pytest.mark.parametrize("code", [269, 271, 272, 285, 306, 315, 33432])
@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"plain\0", "plain"),
        ("Zürich, 東京\0".encode(), "Zürich, 東京"),
        ("Zürich\0".encode("cp1252"), "Zürich"),
        (b"two\0strings\0", "two\0strings"),
    ],
)
def test_text_is_carried_over_as_utf8(code, raw, expected, tiff):
    value = expected.encode() + b"\0"
    assert tiff((code, ASCII, 0, raw)).tags == ((code, ASCII, len(value), value),)


@pytest.mark.parametrize(
    ("raw", "dropped"), [(b"\0", ()), (b"  \0\0", ()), (b"\x81\x8d long enough\0", ("Artist",)), (b"\x1b[2J\0", ("Artist",))]
)
def test_empty_text_is_nothing_and_what_is_no_text_is_dropped(raw, dropped, tiff):
    assert tiff((315, ASCII, 0, raw)) == Metadata(dropped=dropped)


@pytest.mark.parametrize("text", ["Scan of a letter", "width < height, a > b", "Zürich 東京", "ImageJ", "{draft"])
def test_a_description_for_people_is_kept(text, tiff, tmp_path):
    metadata = tiff(description=text.encode())
    assert metadata == Metadata(description=text)
    assert read(write_metadata(tmp_path / "out.tif", metadata, (8, 8))) == metadata


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (OME.format(""), "OME-XML"),
        ("<OME></OME>\n", "OME-XML"),
        ("\ufeff<?xml version='1.0'?><OME/></OME>", "OME-XML"),
        ("<DataObject/>", "XML"),
        ('{"shape": [5, 4, 3]}', "JSON"),
        ("ImageJ=1.53c\nimages=3\n", "ImageJ"),
        ("SCIFIO=0.1\naxes=X,Y\n", "SCIFIO"),
        ("Aperio Image Library v11.2.1", "Aperio"),
    ],
)
def test_a_description_for_programs_is_dropped(text, kind, tiff):
    assert tiff(description=text.encode()) == Metadata(dropped=(f"ImageDescription ({kind})",))


def test_a_second_description_is_dropped(tiff):
    metadata = tiff(description="first", metadata={"more": 1})
    assert metadata == Metadata(description="first", dropped=("ImageDescription",))


@pytest.mark.parametrize("dtype", [BYTE, UNDEFINED])
def test_xmp_is_carried_over_as_bytes(dtype, tiff):
    assert tiff((700, dtype, len(PACKET), PACKET)) == Metadata(tags=((700, BYTE, len(PACKET), PACKET),))


def test_xml_of_a_scanner_in_place_of_xmp_is_dropped(tiff):
    xml = b'<?xml version="1.0"?><iScan Magnification="20"/>'
    assert tiff((700, BYTE, len(xml), xml)) == Metadata(dropped=("XMP",))


@pytest.mark.parametrize("dtype", [SHORT, LONG])
@pytest.mark.parametrize("orientation", range(10))
def test_orientation(orientation, dtype, tiff):
    metadata = tiff((274, dtype, 1, orientation))
    assert metadata.tags == (((274, SHORT, 1, (orientation,)),) if 2 <= orientation <= 8 else ())
    assert metadata.dropped == (() if 1 <= orientation <= 8 else ("Orientation",))


# --- What is dropped


def test_what_the_output_does_not_get_is_named(tiff):
    tags = [(33723, UNDEFINED, 12, bytes(12)), (34377, BYTE, 8, b"8BIM1234"), (37724, UNDEFINED, 8, b"AdobePho")]
    tags += [(316, ASCII, 0, "host"), (65000, SHORT, 1, 7)]
    assert tiff(*tags) == Metadata(dropped=("65000", "HostComputer", "IPTCNAA", "ImageResources", "ImageSourceData"))


def test_exif_and_gps_are_named(tmp_path):
    directories = {34665: {36867: "2020:01:01 00:00:00"}, 34853: {1: "N"}}
    Image.new("RGB", (8, 8)).save(tmp_path / "in.tif", tiffinfo=directories)
    assert read(tmp_path / "in.tif").dropped == ("ExifTag", "GPSTag")


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "jpeg", "tile": (64, 64)},
        {"compression": "adobe_deflate", "predictor": True, "subifds": 1},
        {"planarconfig": "separate", "shape": (3, 40, 60)},
        {"shape": (40, 60, 4), "extrasamples": ["unassalpha"]},
        {"shape": (40, 60, 4), "photometric": "separated"},
        {"shape": (40, 60), "photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)},
    ],
)
def test_the_layout_of_pixels_is_no_loss(options, tmp_path):
    path, nodata = tmp_path / "in.tif", (42113, ASCII, 0, "0")
    with tifffile.TiffWriter(path) as writer:
        options = {"shape": (40, 60, 3), "photometric": "rgb"} | options
        pixels = np.zeros(options.pop("shape"), np.uint8)
        for subifds in [options.pop("subifds", 0), 0]:
            writer.write(pixels, metadata=None, extratags=[(*nodata, True)], subifds=subifds, **options)
    assert read(path) == Metadata()


def test_a_tag_is_carried_over_or_structural_and_known_by_name():
    assert not CARRIED.keys() & STRUCTURAL
    assert [code for code in CARRIED.keys() | STRUCTURAL if code not in tifffile.TIFF.TAGS] == [516]


# --- Damaged and hostile files

WHOLE = (
    SCALE,
    TIEPOINT,
    TRANSFORMATION,
    UTM_AREA,
    (34736, DOUBLE, 2, (0.1, 0.2)),
    (34737, ASCII, 0, "WGS 84|and more|"),
    (50844, DOUBLE, 92, tuple(float(i) for i in range(92))),
    gdal_metadata(ITEMS),
    (274, SHORT, 1, 6),
    (700, BYTE, len(PACKET), PACKET),
    (34675, UNDEFINED, len(RGB_PROFILE), RGB_PROFILE),
    *((code, ASCII, 0, "some text") for code in (269, 271, 272, 285, 306, 315, 33432)),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file with every tag that is carried over."""
    path = write(tmp_path_factory.mktemp("whole") / "in.tif", *WHOLE, description="free text", resolution=(300, 200))
    metadata = read(path)
    assert {tag[0] for tag in metadata.tags} | {270, 34675} == CARRIED.keys()
    assert metadata.dropped == ("GDAL_METADATA items of bands",)
    assert None not in (metadata.icc, metadata.description, metadata.resolution)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("tag", "dtype"),
    [
        pytest.param(tag, dtype, id=f"{name_of(tag)}-{dtype}")
        for tag in WHOLE
        for dtype in (SHORT, LONG, 5, 6, 10, 11, 13, 99)
        if dtype not in CARRIED[tag[0]][:1] + CARRIED[tag[0]][1]
    ],
)
def test_a_tag_of_a_wrong_type_is_dropped_by_name(tag, dtype, whole, tmp_path):
    path = tmp_path / "in.tif"
    path.write_bytes(whole)
    overwrite(path, tag[0], (dtype, 3))
    with tifffile.TiffFile(path) as tiff:
        known = tag[0] in tiff.pages.first.tags  # tifffile itself leaves out types there are not
    metadata = read(path)
    assert tag[0] not in {code for code, *_ in metadata.tags}
    assert (name_of(tag) in metadata.dropped) == known


@pytest.mark.parametrize("code", [33550, 33922, 34264, 34735, 50844, 34675])
def test_a_tag_with_too_few_values_is_dropped_by_name(code, whole, tmp_path):
    path = tmp_path / "in.tif"
    path.write_bytes(whole)
    overwrite(path, code, (CARRIED[code][0], CARRIED[code][2] - 1))
    metadata = read(path)
    assert tifffile.TIFF.TAGS[code] in metadata.dropped
    assert len(metadata.tags) + (metadata.icc is not None) == len(WHOLE) - 1


def test_tags_of_a_file_cut_while_open_are_dropped_by_name(whole):
    file = io.BytesIO(whole)
    page = tifffile.TiffFile(file).pages.first
    file.truncate(page.tags[700].valueoffset + len(PACKET) - 1)
    assert "XMP" in carried_over(page, colors_converted=False).dropped


@pytest.mark.parametrize("size", [16 << 20, (16 << 20) + 1])
def test_a_tag_is_read_up_to_16_mib(size, tiff):
    data = PACKET.ljust(size)
    kept = size == 16 << 20
    metadata = tiff((700, BYTE, size, data), shape=(8, 8, 3))
    assert metadata.dropped == (() if kept else ("XMP",))
    assert metadata.tags == (((700, BYTE, size, data),) if kept else ())


def test_a_hundred_thousand_items_of_bands_are_no_burden(tiff):
    xml = '<GDALMetadata><Item name="A" />' + '<Item sample="0"/>' * 100_000 + "</GDALMetadata>"
    (tag,) = tiff(gdal_metadata(xml)).tags
    assert tag[3] == b'<GDALMetadata><Item name="A" /></GDALMetadata>\0'


@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.sampled_from([0, 1, 2, 3, 5, 12, 127, 128, 255])), max_size=20))
def test_damage_anywhere_raises_nothing(whole, damage):
    data = bytearray(whole)
    for place, byte in damage:
        data[place % len(data)] = byte
    try:
        page = tifffile.TiffFile(io.BytesIO(data)).pages.first
    except Exception:
        return
    metadata = carried_over(page, colors_converted=False)
    write_metadata(io.BytesIO(), metadata, (64, 64))
    smaller = metadata.scaled(2, 2)
    write_metadata(io.BytesIO(), smaller, (64, 64))
    assert [tag[0] for tag in smaller.tags] == [tag[0] for tag in metadata.tags]


@pytest.mark.collection
@pytest.mark.parametrize("folder", ["hostile", "variants", "scientific", "photos"])
def test_real_files_raise_nothing_and_can_be_written(folder, tmp_path):
    n_opened = 0
    for path in shared_file(folder).iterdir():
        with open(path, "rb") as file:
            try:
                page = tifffile.TiffFile(file).pages.first
            except Exception:  # tifffile raises anything
                continue
            metadata = carried_over(page, colors_converted=False)
        n_opened += 1
        again = read(write_metadata(tmp_path / "out.tif", metadata, (64, 64)))
        assert (again.tags, again.icc, again.description) == (metadata.tags, metadata.icc, metadata.description)
        assert again.resolution == (metadata.resolution and pytest.approx(metadata.resolution, rel=1e-9))
        assert again.dropped == ()
    assert n_opened > 0


def test_colors_beside_gray_samples_are_named(tmp_path):
    """GDAL and QGIS show them, and the samples are taken for gray here."""
    gray = smooth(40, 60, 1)[:, :, 0]
    table = (320, 3, 768, bytes(1536), True)
    tifffile.imwrite(path := tmp_path / "gray.tif", gray, photometric="minisblack", extratags=[table], metadata=None)
    with closing(open_image(path)) as image:
        assert image.metadata.dropped == ("ColorMap",)
    tifffile.imwrite(path, gray, photometric="palette", colormap=np.zeros((3, 256), np.uint16), metadata=None)
    with closing(open_image(path)) as image:
        assert image.metadata.dropped == ()
