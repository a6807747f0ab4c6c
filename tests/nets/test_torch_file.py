"""The reader of PyTorch's files: what torch.save wrote comes back, and nothing that a file asks for is run."""

import collections
import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from restore_jax.nets.torch_file import MAGIC, NAMES, TorchFileError, read_torch_file


class Global:
    """Pickles as the name `module name`, whatever that may be."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """Pickles as a call of a Global."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return (_placeholder, (self.function, *self.args))


def _placeholder(*args):
    raise AssertionError("never called: only pickled")


class Pickler(pickle._Pickler):
    """Writes Global, Call and storages as PyTorch does, without PyTorch."""

    def save(self, obj, *args, **kwargs):
        if isinstance(obj, Global):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save(obj.function)
            super().save(obj.args)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, *args, **kwargs)

    def persistent_id(self, obj):
        return obj[1:] if isinstance(obj, tuple) and obj[:1] == ("persistent",) else None


def pickled(obj) -> bytes:
    file = io.BytesIO()
    Pickler(file, 2).dump(obj)
    return file.getvalue()


def tensor(key="0", numel=6, offset=0, shape=(2, 3), stride=(3, 1), kind="FloatStorage", legacy=False):
    pid = ("persistent", "storage", Global("torch", kind), key, "cpu", numel) + ((None,) if legacy else ())
    return Call(Global("torch._utils", "_rebuild_tensor_v2"), pid, offset, shape, stride, False, {})


def archive(path, root, **storages):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("net/data.pkl", pickled(root))
        file.writestr("net/byteorder", b"little")
        for key, content in storages.items():
            file.writestr(f"net/data/{key.removeprefix('_')}", content)
    return path


SIX = np.arange(6, dtype="<f4")


def test_zip_by_hand(tmp_path):
    """Strides, offsets, nesting, numbers; a shared storage; strings left out."""
    root = {
        "params": {
            "a": tensor(),
            "t": tensor(shape=(3, 2), stride=(1, 3)),
            "tail": tensor(offset=4, shape=(2,), stride=(1,)),
        },
        "half": tensor("1", 2, 0, (2,), (1,), "HalfStorage"),
        "scalar": tensor(offset=5, shape=(), stride=()),
        "empty": tensor(shape=(0, 3), stride=(3, 1)),
        "list": [tensor(shape=(1,), stride=(1,))],
        "step": 7,
        "name": "a net",
    }
    half = np.asarray([0.5, -2.0], "<f2")
    read = read_torch_file(archive(tmp_path / "a.pth", root, _0=SIX.tobytes(), _1=half.tobytes()))
    assert list(read) == ["params.a", "params.t", "params.tail", "half", "scalar", "empty", "list.0", "step"]
    np.testing.assert_array_equal(read["params.a"], SIX.reshape(2, 3))
    np.testing.assert_array_equal(read["params.t"], SIX.reshape(2, 3).T)
    np.testing.assert_array_equal(read["params.tail"], [4, 5])
    np.testing.assert_array_equal(read["half"], half)
    assert read["half"].dtype == np.float16
    assert read["scalar"] == 5
    assert read["scalar"].shape == ()
    assert read["empty"].shape == (0, 3)
    assert read["step"] == 7
    read["params.a"][0] = 9  # an array of its own, which may be written to
    np.testing.assert_array_equal(read["params.tail"], [4, 5])


def legacy(path, root, keys, content, magic=MAGIC, protocol=1001, little=True):
    parts = [magic, protocol, {"protocol_version": 1001, "little_endian": little, "type_sizes": {}}, root, keys]
    path.write_bytes(b"".join(map(pickled, parts)) + content)
    return path


def test_legacy_by_hand(tmp_path):
    content = (6).to_bytes(8, "little") + SIX.tobytes()
    root = {"a": tensor(legacy=True), "b": tensor(legacy=True, shape=(3, 2), stride=(1, 3))}
    read = read_torch_file(legacy(tmp_path / "a.pth", root, ["0"], content))
    np.testing.assert_array_equal(read["a"], SIX.reshape(2, 3))
    np.testing.assert_array_equal(read["b"], SIX.reshape(2, 3).T)
    for name, args, why in [
        ("short", {"content": content[:-1]}, "cut short"),
        ("count", {"content": b"\x07" + content[1:]}, "cut short"),
        ("magic", {"content": content, "magic": 5}, "not one of PyTorch's"),
        ("protocol", {"content": content, "protocol": 1002}, "protocol 1002"),
        ("endian", {"content": content, "little": False}, "big-endian"),
    ]:
        with pytest.raises(TorchFileError, match=why):
            read_torch_file(legacy(tmp_path / name, root, ["0"], **args))


@pytest.mark.parametrize("zipped", [True, False])
def test_round_trip(tmp_path, zipped):
    """Every type, contiguous or not, in both layouts, as PyTorch itself writes them."""
    torch = pytest.importorskip("torch", reason="the reader is compared with torch.save where PyTorch is installed")
    torch.manual_seed(0)
    a = torch.randn(4, 3, 5, 5)
    state = collections.OrderedDict(
        plain=a,
        last=a.to(memory_format=torch.channels_last),
        part=a[1:3, :, ::2],
        turned=a.permute(3, 0, 1, 2),
        parameter=torch.nn.Parameter(a[0]),
        scalar=torch.tensor(3),
        empty=torch.zeros(0, 2),
        **{str(t): torch.arange(-3, 4).to(t) for t in (torch.float64, torch.float16, torch.int32, torch.int16)},
        **{str(t): torch.arange(-3, 4).to(t) for t in (torch.int8, torch.uint8, torch.bool, torch.bfloat16)},
    )
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))  # has `_metadata`
    path = tmp_path / "a.pth"
    torch.save({"state": state, "net": net.state_dict(), "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    read = read_torch_file(path)
    wanted = {f"state.{k}": v for k, v in state.items()} | {f"net.{k}": v for k, v in net.state_dict().items()}
    assert set(read) == set(wanted) | {"epoch"}
    for name, value in wanted.items():
        assert read[name].shape == tuple(value.shape)
        assert read[name].dtype.name == str(value.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(read[name].astype(np.float64), value.detach().double().numpy())


def test_a_file_that_runs_something_is_refused(tmp_path):
    """In either layout, by any way that a pickle has to call; and it is not run."""
    canary = tmp_path / "canary"
    calls = {
        "posix.system": pickled({"a": Call(Global("posix", "system"), f"touch {canary}")}),
        "builtins.eval": pickled({"a": Call(Global("builtins", "eval"), f"open({str(canary)!r}, 'w')")}),
        "builtins.getattr": pickled(Call(Global("builtins", "getattr"), tensor(), "storage")),
        # a dotted name below an allowed one, and the opcodes INST and STACK_GLOBAL
        "collections.OrderedDict.fromkeys": pickled({"a": Global("collections", "OrderedDict.fromkeys")}),
        "os.system": f"(S'touch {canary}'\nios\nsystem\n.".encode(),
        "nt.system": b"\x80\x04\x8c\x02nt\x8c\x06system\x93.",
    }
    for name, program in calls.items():
        path = tmp_path / "a.pth"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("net/data.pkl", program)
        with pytest.raises(TorchFileError, match=f"asks for {name}, and a pickle may run"):
            read_torch_file(path)
        path.write_bytes(pickled(MAGIC) + pickled(1001) + pickled({"little_endian": True}) + program)
        with pytest.raises(TorchFileError, match=f"asks for {name}"):
            read_torch_file(path)
    assert not canary.exists()
    # The canary sings where nobody guards: so it would have been seen.
    pickle.loads(pickled(Call(Global(os.system.__module__, "system"), f"touch {canary}")))
    assert canary.exists()


def test_a_pickle_cannot_alter_the_reader(tmp_path):
    """The opcode BUILD sets attributes of whatever lies on the stack: not of what the names are bound to."""
    name = ("torch._utils", "_rebuild_tensor_v2")
    before = NAMES[name].call
    for state in ({"call": 1}, (None, {"call": 1})):
        program = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + pickled(state)[2:-1] + b"b."
        with zipfile.ZipFile(tmp_path / "a.pth", "w") as file:
            file.writestr("net/data.pkl", program)
        with pytest.raises(TorchFileError, match="alters"):
            read_torch_file(tmp_path / "a.pth")
    assert NAMES[name].call is before


@pytest.mark.parametrize(
    ("root", "why"),
    [
        (tensor(shape=(3, 3)), "reaches beyond its storage of 6"),
        (tensor(offset=1), "reaches beyond"),
        (tensor(shape=(10**15,), stride=(0,)), "reaches beyond"),
        (tensor(stride=(-3, 1)), "storage, shape or strides"),
        (tensor(stride=(3,)), "2 axes with 1 strides"),
        (tensor(numel=7), "smaller than its 7 numbers"),
        (tensor(numel=10**15), "smaller than"),
        (tensor("1"), "storage 1 is not in the archive"),
        (tensor("../../data.pkl"), "not in the archive"),
        (Call(Global("torch", "FloatStorage"), 3), "storage that is called"),
        ("a string", "no named tensor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # an object's own name has its address in it
)
def test_a_tensor_stays_inside_its_storage(tmp_path, root, why):
    with pytest.raises(TorchFileError, match=why):
        read_torch_file(archive(tmp_path / "a.pth", {"a": root}, _0=SIX.tobytes()))


def test_what_is_no_torch_file_is_told(tmp_path):
    with pytest.raises(TorchFileError, match=r"absent\.pth: no such file"):
        read_torch_file(tmp_path / "absent.pth")
    nested = {}
    nested["in"] = nested
    for content, why in [
        (b"<!DOCTYPE html>", "neither a zip archive nor a pickle"),
        (b"", "neither"),
        (pickled(MAGIC)[:5], "damaged"),
        (b"PK\x03\x04 and no more", "damaged"),
        (
            pickled(MAGIC) + pickled(1001) + pickled({"little_endian": True}) + pickled(nested) + pickled([]),
            "nested deeper",
        ),
    ]:
        (tmp_path / "a.pth").write_bytes(content)
        with pytest.raises(TorchFileError, match=rf"a\.pth: .*{why}"):
            read_torch_file(tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "b.pth", "w") as file:
        file.writestr("readme", "hello")
    with pytest.raises(TorchFileError, match=r"without PyTorch's data\.pkl"):
        read_torch_file(tmp_path / "b.pth")
