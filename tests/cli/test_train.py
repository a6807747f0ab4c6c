"""A config file becomes a run, by the command; it is gone on with, and traced when asked."""

from restore_jax.cli import main
from tests.train.tiny import tiny_config


def test_a_config_file_is_trained_and_gone_on_with(tmp_path, capsys):
    path = tmp_path / "config.py"
    path.write_text(f"def get_config():\n    return {tiny_config(images=4)!r}\n")
    for _ in range(2):
        assert main(["train", str(path), "--workdir", str(tmp_path / "run"), "--profile", "1"]) == 0
    assert (tmp_path / "run" / "config.json").is_file()
    assert len((tmp_path / "run" / "table.jsonl").read_text().splitlines()) >= 1
    assert not (tmp_path / "run" / "profile").exists()  # the run is over before the third dispatch
    capsys.readouterr()
    assert main(["runs", str(tmp_path)]) == 0
    assert "complete  4/4" in capsys.readouterr().out


def test_a_mistake_ends_in_one_line(tmp_path, capsys):
    path = tmp_path / "config.py"
    path.write_text(f"def get_config():\n    return {tiny_config(steps_per_dispatch=0)!r}\n")
    assert main(["train", str(path), "--workdir", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert said == "restore-jax: config.steps_per_dispatch must be 1 or above, not 0.\n"
