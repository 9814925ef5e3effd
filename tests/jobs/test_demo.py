"""The demo shows the whole path and prints lines of Python that work."""

from pathlib import Path

from jobs.cli import main


def test_the_demo_ends_with_lines_that_open_what_it_built(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "demo"
    assert main(["demo", "--dir", str(folder), "--stars", "300", "--profile", "serial"]) == 0
    said = capsys.readouterr().out
    assert "SYNTHETIC" in said
    lines = [line.strip() for line in said.split("open it with:")[1].splitlines() if line.startswith("    ")]
    assert len(lines) == 8
    exec("\n".join(lines), {})  # noqa: S102  (the lines are what is tested)
    shown = capsys.readouterr().out
    assert "reconstruction_error" in shown
    assert "teff_n_sources" in shown
    assert main(["demo", "--dir", str(folder), "--stars", "300", "--profile", "serial"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_the_demo_leaves_other_folders_alone(tmp_path: Path, capsys) -> None:
    (tmp_path / "precious.dat").write_text("1")
    assert main(["demo", "--dir", str(tmp_path), "--stars", "300"]) == 1
    assert "something else than a demo" in capsys.readouterr().err
    assert (tmp_path / "precious.dat").read_text() == "1"
