"""A column takes numbers of one protocol, and says which field keeps another out."""

import json

import pytest

from restore_jax.evaluate.protocol import Protocol
from restore_jax.evaluate.report import check, entry, markdown, records

EMBEDDED = {"name": "data.sets.embedded.Embedded", "split": "heldout"}
NOISE = {"name": "degrade.noise.Gaussian", "std": 0.1}
RGB = Protocol(EMBEDDED, NOISE)


def rows(psnr, protocol):
    stamps = {"protocol": protocol.stamp()["hash"], "weights": "abc"}
    return [
        {"photograph": "a", "psnr": 0.0, "ssim": 0.0, **stamps},
        {"photograph": "mean", "psnr": psnr, "ssim": 0.9, **stamps},
    ]


def test_the_table():
    other = Protocol(EMBEDDED, NOISE | {"std": 0.2})
    entries = [
        entry("net", "low", rows(31.0, RGB), RGB),
        entry("net", "high", rows(27.12345, other), other),
        entry("cubic", "low", rows(28.0, RGB), RGB),
    ]
    lines = markdown(entries).splitlines()
    assert lines[0] == f"| restorer | low ({RGB.stamp()['hash']}) | high ({other.stamp()['hash']}) |"
    assert lines[2] == "| net | 31.000 / 0.9000 | 27.123 / 0.9000 |"
    assert lines[3] == "| cubic | 28.000 / 0.9000 |  |"
    plain = json.loads(json.dumps(records(entries)))
    assert plain[1]["metrics"] == {"psnr": 27.12345, "ssim": 0.9}
    assert plain[1]["stamp"]["degrade"]["std"] == 0.2
    assert plain[0]["weights"] == "abc"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Protocol(EMBEDDED, NOISE, color="luma"), "color is 'rgb' and 'luma'"),
        (Protocol(EMBEDDED, NOISE, border_px=4), "border_px is 0 and 4"),
        (Protocol(EMBEDDED, NOISE | {"std": 0.2}), r"degrade\.std is 0\.1 and 0\.2"),
        (Protocol(pairs={"name": "p"}), "pairs.name is None and 'p'"),
    ],
    ids=["colour", "border", "noise", "stored"],
)
def test_another_protocol_is_kept_out(other, said):
    entries = [entry("net", "set", rows(31.0, RGB), RGB), entry("cubic", "set", rows(28.0, other), other)]
    for make in (check, markdown, records):
        with pytest.raises(ValueError, match=rf"column set: net and cubic were measured differently: .*{said}"):
            make(entries)


def test_another_version_is_another_protocol():
    one, two = (entry(name, "set", rows(31.0, RGB), RGB) for name in "ab")
    two.stamp.update({"restore_jax": "0.0.0", "hash": "other"})
    with pytest.raises(ValueError, match=r"restore_jax is .* and '0\.0\.0'"):
        check([one, two])


def test_a_place_is_taken_once_and_rows_are_of_their_protocol():
    one = entry("net", "set", rows(31.0, RGB), RGB)
    with pytest.raises(ValueError, match="net stands twice in column set"):
        markdown([one, one])
    with pytest.raises(ValueError, match="the rows are of protocol"):
        entry("net", "set", rows(31.0, RGB), Protocol(EMBEDDED, NOISE, seed=1))
