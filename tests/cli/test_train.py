"""A config file becomes a run, by the command."""

from restore_jax.cli import main
from tests.train.tiny import tiny_config


def test_a_config_file_is_trained_and_gone_on_with(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(f"def get_config():\n    return {tiny_config(images=4)!r}\n")
    for _ in range(2):
        assert main(["train", str(path), "--workdir", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "config.json").is_file()
    assert len((tmp_path / "run" / "table.jsonl").read_text().splitlines()) >= 1
