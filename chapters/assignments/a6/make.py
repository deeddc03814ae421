"""step.py of assignment 6: handed out as the textbook has it; the solution hands in quick.py."""

from pathlib import Path

HERE = Path(__file__).parent


def starter(seed):
    """File -> text of what is handed out (no seed decides anything here)"""
    return {"step.py": _text("textbook"), "textbook.py": _text("textbook"), "race.py": _text("race")}


def solution(seed):
    """File -> text of what a right one hands in"""
    return {"step.py": _text("quick")}


def _text(name):
    return (HERE / f"{name}.py").read_text(encoding="utf-8")
