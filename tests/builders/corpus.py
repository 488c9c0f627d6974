"""Kinds of image files that people have, sound and damaged, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageCms, features

from builders.tiffs import tiff

WIDTH, HEIGHT = 40, 28


def pixels(channels: int = 3, *, deep: bool = False) -> np.ndarray:
    """A soft picture: lossy formats keep it well."""
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    waves = [
        np.sin(across / (5 + 2 * number) + down / (9 - number)) * 0.45 + 0.5
        for number in range(channels)
    ]
    values = np.stack(waves, axis=-1) if channels > 1 else waves[0]
    return np.rint(values * (65535 if deep else 255)).astype(np.uint16 if deep else np.uint8)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    if "append_images" in options:  # an image remembers how it was saved last
        options["append_images"] = [frame.copy() for frame in options["append_images"]]
    image.copy().save(stream, format, **options)
    return stream.getvalue()


def chunked_png(
    kind: int, depth: int, data: bytes, *, interlaced: bool = False, key: tuple[int, ...] = ()
) -> bytes:
    """A PNG of raw rows: colour type, bits, and rows with their filter bytes; `key` is the colour
    that stands for nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, kind, 0, 0, interlaced)
    body = chunk(b"IHDR", header)
    if key:
        body += chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    body += chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def deep_png(channels: int) -> bytes:
    """16 bits a channel: grey, grey and alpha, RGB, RGBA."""
    values = pixels(channels, deep=True).astype(">u2").reshape(HEIGHT, -1)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    return chunked_png({1: 0, 2: 4, 3: 2, 4: 6}[channels], 16, rows)


def keyed_png(depth: int) -> bytes:
    """RGB of 16 bits, or grey of 4, whose colour of the middle stands for nothing."""
    if depth == 16:
        values = pixels(3, deep=True).astype(">u2")
        rows = b"".join(b"\0" + row.tobytes() for row in values.reshape(HEIGHT, -1))
        return chunked_png(2, 16, rows, key=tuple(values[HEIGHT // 2, WIDTH // 2].tolist()))
    values = pixels(1) >> 4
    packed = values[:, ::2] << 4 | values[:, 1::2]
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    return chunked_png(0, 4, rows, key=(int(values[HEIGHT // 2, WIDTH // 2]),))


def interlaced_png() -> bytes:
    """Adam7: the seven passes by hand."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1)]  # fmt: skip
    data = b""
    for top, left, down, across in passes:
        for row in pixels()[top::down, left::across]:
            data += b"\0" + row.tobytes()
    return chunked_png(2, 8, data, interlaced=True)


def raw_tiff(
    pieces: list[bytes], offsets: int, order: str = "<", bits: int = 8, **tags: int
) -> bytes:
    """RGB, not compressed. `offsets` is the tag of the offsets of the pieces (strips or tiles);
    `tags` are more of them, as t278=28 for the rows in a strip, or other values, as t257=29."""
    counts = {273: 279, 324: 325}[offsets]
    lists = {258: [bits] * 3, offsets: [0] * len(pieces), counts: list(map(len, pieces))}
    single = {256: WIDTH, 257: HEIGHT, 259: 1, 262: 2, 277: 3}
    single |= {int(name[1:]): value for name, value in tags.items()}
    start = 8 + 2 + 12 * (len(lists) + len(single)) + 4
    data = start + 4 * sum(map(len, lists.values()))
    lists[offsets] = [data + sum(map(len, pieces[:number])) for number in range(len(pieces))]
    entries, behind = b"", b""
    for tag in sorted([*lists, *single]):
        values = lists.get(tag) or [single[tag]]
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            position, behind = start + len(behind), behind + packed
            packed = struct.pack(order + "I", position)
        entries += struct.pack(order + "HHI", tag, 4, len(values)) + packed
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    head += struct.pack(order + "H", len(lists) + len(single)) + entries + bytes(4)
    return head + behind.ljust(data - start, b"\0") + b"".join(pieces)


def deep_tiff(order: str, **tags: int) -> bytes:
    """16 bits a channel, in either byte order."""
    values = pixels(3, deep=True).astype(order + "u2")
    return raw_tiff([values.tobytes()], 273, order, 16, t278=HEIGHT, **tags)


def tiled_tiff(**tags: int) -> bytes:
    """Tiles of 16 x 16, which stand over the edges."""
    padded = np.zeros((32, 48, 3), np.uint8)
    padded[:HEIGHT, :WIDTH] = pixels()
    tiles = [padded[top : top + 16, left : left + 16].tobytes()
             for top in (0, 16) for left in (0, 16, 32)]  # fmt: skip
    return raw_tiff(tiles, 324, t322=16, t323=16, **tags)


def planar_tiff(**tags: int) -> bytes:
    """Strips of 10 rows, one channel after the other."""
    rows = range(0, HEIGHT, 10)
    strips = [
        pixels()[top : top + 10, :, channel].tobytes() for channel in range(3) for top in rows
    ]
    return raw_tiff(strips, 273, t278=10, t284=2, **tags)


def tiffs_by_hand() -> dict[str, bytes]:
    """Layouts that microscopes and scanners write, and Pillow does not."""
    grey, rgb = pixels(1, deep=True)[..., None], pixels(3, deep=True)
    return {
        "tiff 12 grey": tiff(grey >> 4, bits=12, photometric=1),
        "tiff 16 grey apart": tiff(grey, bits=16, photometric=1, apart=True),
        "tiff 16 RGB apart": tiff(rgb, bits=16, photometric=2, apart=True),
        "tiff 1 bit negative apart": tiff(grey >> 15, bits=1, photometric=0, apart=True),
        "tiff 32 grey": tiff(grey.astype(np.uint32) << 16, bits=32, photometric=1),
        "tiff fractions": tiff((grey / 65535).astype(np.float32), bits=32, photometric=1, form=3),
        "tiff fractions negative": tiff(
            (1 - grey / 65535).astype(np.float32), bits=32, photometric=0, form=3
        ),
        "tiff fractions big-endian deflate": tiff(
            (grey / 65535).astype(np.float32),
            bits=32, photometric=1, form=3, order=">", deflated=True,
        ),
    }  # fmt: skip


def as_ycck(jpeg: bytes) -> bytes:
    """A CMYK file whose Adobe mark says that its inks are stored as brightness and colour."""
    transform = jpeg.index(b"Adobe") + 11
    assert jpeg[transform] == 0
    return jpeg[:transform] + b"\2" + jpeg[transform + 1 :]


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def sound() -> dict[str, bytes]:
    """Files that decode, by what they are."""
    rgb, rgba = Image.fromarray(pixels()), Image.fromarray(pixels(4))
    grey, palette = rgb.convert("L"), rgb.quantize(64)
    grey_alpha = Image.merge("LA", [grey, rgba.getchannel("A")])
    inks, bits = rgb.convert("CMYK"), rgb.convert("1")
    deep = Image.fromarray(pixels(1, deep=True))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = [rgb.rotate(180)]
    best = {"quality": 95}
    files = {
        "jpeg 4:2:0": encoded(rgb, "JPEG", **best),
        "jpeg 4:2:2": encoded(rgb, "JPEG", subsampling=1, **best),
        "jpeg 4:4:4": encoded(rgb, "JPEG", subsampling=0, **best),
        "jpeg progressive": encoded(rgb, "JPEG", progressive=True, **best),
        "jpeg restarts": encoded(rgb, "JPEG", restart_marker_rows=1, **best),
        "jpeg optimised": encoded(rgb, "JPEG", optimize=True, **best),
        "jpeg RGB": encoded(rgb, "JPEG", keep_rgb=True, **best),
        "jpeg grey": encoded(grey, "JPEG", **best),
        "jpeg grey progressive": encoded(grey, "JPEG", progressive=True, **best),
        "jpeg CMYK": encoded(inks, "JPEG", **best),
        "jpeg YCCK": as_ycck(encoded(inks, "JPEG", **best)),
        "jpeg comment": encoded(rgb, "JPEG", comment=b"\xff\xd9 is no end", **best),
        "jpeg sRGB": encoded(rgb, "JPEG", icc_profile=srgb, **best),
        "jpeg broken profile": encoded(rgb, "JPEG", icc_profile=b"nonsense" * 30, **best),
        "jpeg junk behind": encoded(rgb, "JPEG", **best) + b"junk" * 500,
        "jpeg of two": encoded(rgb, "MPO", save_all=True, append_images=frames, **best),
        **{f"jpeg turned {n}": encoded(rgb, "JPEG", exif=_turned(n), **best) for n in range(1, 9)},
        "png RGB": encoded(rgb, "PNG"),
        "png RGBA": encoded(rgba, "PNG"),
        "png grey": encoded(grey, "PNG"),
        "png grey alpha": encoded(grey_alpha, "PNG"),
        "png palette": encoded(palette, "PNG"),
        "png palette alpha": encoded(palette, "PNG", transparency=bytes(range(0, 256, 4))),
        "png 4 bits": encoded(rgb.quantize(16), "PNG", bits=4),
        "png 2 bits": encoded(rgb.quantize(4), "PNG", bits=2),
        "png 1 bit": encoded(bits, "PNG"),
        "png 16 grey": deep_png(1),
        "png 16 grey alpha": deep_png(2),
        "png 16 RGB": deep_png(3),
        "png 16 RGBA": deep_png(4),
        "png interlaced": interlaced_png(),
        "png 16 RGB key": keyed_png(16),
        "png 4 bits grey key": keyed_png(4),
        "png turned": encoded(rgb, "PNG", exif=_turned(6)),
        "png animated": encoded(rgb, "PNG", save_all=True, append_images=frames),
        "gif": encoded(palette, "GIF"),
        "gif transparent": encoded(palette, "GIF", transparency=0),
        "gif animated": encoded(rgb, "GIF", save_all=True, append_images=frames),
        "gif grey": encoded(grey, "GIF"),
        "bmp RGB": encoded(rgb, "BMP"),
        "bmp palette": encoded(palette, "BMP"),
        "bmp grey": encoded(grey, "BMP"),
        "bmp 1 bit": encoded(bits, "BMP"),
        "bmp RGBA": encoded(rgba, "BMP"),
        "tiff RGB": encoded(rgb, "TIFF"),
        "tiff RGBA": encoded(rgba, "TIFF"),
        "tiff LZW": encoded(rgb, "TIFF", compression="tiff_lzw"),
        "tiff deflate": encoded(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "tiff packbits": encoded(rgb, "TIFF", compression="packbits"),
        "tiff JPEG": encoded(rgb, "TIFF", compression="jpeg", quality=95),
        "tiff group 4": encoded(bits, "TIFF", compression="group4"),
        "tiff grey": encoded(grey, "TIFF"),
        "tiff palette": encoded(palette, "TIFF"),
        "tiff CMYK": encoded(inks, "TIFF"),
        "tiff 16 grey": encoded(deep, "TIFF"),
        "tiff 16 grey LZW": encoded(deep, "TIFF", compression="tiff_lzw"),
        "tiff 16 RGB": deep_tiff("<"),
        "tiff 16 RGB big-endian": deep_tiff(">"),
        "tiff tiled": tiled_tiff(),
        "tiff planar": planar_tiff(),
        **tiffs_by_hand(),
        "tiff pages": encoded(rgb, "TIFF", save_all=True, append_images=frames),
        "webp": encoded(rgb, "WEBP", **best),
        "webp lossless": encoded(rgb, "WEBP", lossless=True),
        "webp RGBA": encoded(rgba, "WEBP", lossless=True, exact=True),
        "webp animated": encoded(rgb, "WEBP", lossless=True, save_all=True, append_images=frames),
    }
    if features.check("avif"):
        files["avif"] = encoded(rgb, "AVIF", quality=95, subsampling="4:4:4")
        files["avif RGBA"] = encoded(rgba, "AVIF", quality=95, subsampling="4:4:4")
    return files


def truncated() -> Iterator[tuple[str, bytes]]:
    """Files of several kinds, cut at every 5 % of their length."""
    for kind in ("jpeg 4:2:0", "jpeg progressive", "png RGB", "gif", "bmp RGB", "tiff RGB",
                 "tiff LZW", "webp"):  # fmt: skip
        whole = SOUND[kind]
        for percent in range(5, 100, 5):
            yield f"{kind} cut at {percent} %", whole[: len(whole) * percent // 100]


def hopeless() -> dict[str, bytes]:
    """Files that are no image at all."""
    return {
        "empty": b"",
        "one byte": b"\xff",
        "zeros": bytes(5000),
        "web page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "text": b"just a note\n" * 40,
        "PDF": b"%PDF-1.7\n" + bytes(300),
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "zip": b"PK\x03\x04" + bytes(300),
        "a start of JPEG": b"\xff\xd8\xff\xe0",
        "a start of PNG": b"\x89PNG\r\n\x1a\n",
        "TIFF of fractions": tiff(np.zeros((4, 4, 3), np.float32), bits=32, photometric=2, form=3),
        "photoshop": b"8BPS\0\1" + bytes(300),
    }


SOUND = sound()
