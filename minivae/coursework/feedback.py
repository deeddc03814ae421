"""What a student is given back: a page of Markdown with what was seen and what to think about, and no answers."""

from __future__ import annotations

import re

from minivae.coursework.assignment import Assignment
from minivae.coursework.report import Report, Result, line, plain

THINK = (                              # what a message says -> what to think about; the first that fits
    (r"not implemented yet|left out of this",
     "Not written yet."),
    (r"a finite difference",
     "A quotient of two values tells what the slope is, not why. Write the sum with its indices, differentiate it term "
     "by term on paper, and then write that down."),
    (r"bytes are float64",
     "Which array is made without a dtype? What it is multiplied with becomes as long as it is."),
    (r"bytes are read and written|bytes of new arrays",
     "Write the line as single steps, each with what it reads and what it writes. Which array is made only to be read "
     "once, and which step could write where nobody needs the old numbers any more?"),
    (r"exponentials and logarithms are evaluated",
     "Which of them are the same number, and which follow from another by arithmetic?"),
    (r"multiplications are made",
     "What becomes of each product's result? Is there one that nobody reads?"),
    (r"times NumPy is called",
     "Which loop of Python's goes over numbers that one call could take at once?"),
    (r"passes of this file are counted|cannot be counted|is counted, and no other",
     "Say it with NumPy's array functions and operators; they are all that the task needs."),
    (r"writes into",
     "Whose array is it? Somebody else still needs what was in it: work on a copy, or make a new one."),
    (r"No module named|cannot import|there is no",
     "Begin with the file that was handed out, and fill its holes."),
    (r"stopped after",
     "How many steps does Python take itself? Say it with arrays, and look at each loop's end."),
    (r"out of memory|too large",
     "How large is the largest array on the way, for a batch of B? Does it have to be?"),
    (r"ended its process|killed",
     "Does it end when you run it alone? Print the shapes on the way."),
    (r"NaN or infinite|overflow",
     "What do the numbers on the way become when the input is large? The same value can be written without them."),
    (r"transpose",
     "Write the sum with indices: which one is summed over, and which two are left, in which order?"),
    (r"sum over the batch|the sum over|axis 0\) is missing",
     "Which index does the input have that the output has not, or the other way round? A value that was broadcast was "
     "used many times, and derivatives of all its uses add."),
    (r"it has shape",
     "A gradient has the shape of what it is the gradient of. Follow the shapes through each line."),
    (r"the factor",
     "Which function stands around the other one? The chain rule multiplies by the derivative of the outer, at the "
     "inner one's value."),
    (r"the term from .* missing",
     "In how many ways does the output depend on this input? Follow each, and add."),
    (r"sign",
     "Follow each minus of the formula to the end: which of them does the result lack, or have once too often?"),
    (r"batch size|divided|averaged",
     "Is it a sum or a mean, and who divides? The mean over the batch is taken once, at the top, outside of this "
     "function."),
    (r"½|half the right|twice the right|counted twice",
     "Where does the formula have a ½ or a square, and what becomes of it when it is differentiated?"),
    (r"a constant is missing",
     "Which constants does the density need in order to integrate to one?"),
    (r"low precision|digits",
     "Where are two nearly equal numbers subtracted?"),
    (r"was returned|another form|expected an array|is a |order",
     "What is asked for: how many values, in which order, of which kind?"),
    (r"Error:",
     "Run `python -m minivae course check`, or call the function yourself, and read the line that is named."),
)
OTHERWISE = "Take the smallest case, one row and one column, and do it by hand; then compare, number by number."


def page(report: Report, assignment: Assignment) -> str:
    """The feedback on a submission, in Markdown."""
    parts = [f"# {assignment.title}", f"{line(report.student or report.submission)}: **{_outcome(report)}**"]
    if report.remarks:
        parts.append("What was handed in:\n\n" + "\n".join(f"- {_safe(line(remark))}" for remark in report.remarks))
    rows = [f"| {task.id} | {task.title} | {sum(r.points for r in of):g} | {sum(r.most for r in of):g} |"
            for task in assignment.asked if (of := _of(report, task.id))]
    if rows:
        parts.append("\n".join(["| task | | points | of |", "|---|---|---|---|", *rows]))
    for task in assignment.tasks:
        wrong = [result for result in _of(report, task.id) if not result.passed]
        if wrong:
            parts += [f"## {task.id} {task.title}", *map(_said, wrong)]
    parts += [f"## {result.task} {result.title}\n\n{_safe(line(result.says))}"
              for result in report.written if result.says]
    return "\n\n".join(parts) + "\n"


def _of(report: Report, task: str) -> list[Result]:
    return [result for result in report.all if result.task == task]


def _outcome(report: Report) -> str:
    return "not graded yet" if report.error else f"{report.points:g} of {report.most:g} points"


def _said(result: Result) -> str:
    """One test that failed.  What the code printed in hidden tests is shown to nobody."""
    says = "\n".join(f"    {part}" for part in plain(result.says).splitlines())
    printed = "" if result.hidden or not result.printed else "\n\nIt printed:\n\n" + "\n".join(
        f"    {part}" for part in plain(result.printed).splitlines()[:5])
    unseen = ", a case that you have not seen" if result.hidden else ""
    return (f"**{result.title}** ({result.most:g} points{unseen})\n\n"
            f"What was seen:\n\n{says}{printed}\n\nWhat to think about: {think(result.says)}")


def think(says: str) -> str:
    """A question about a mistake, whose answer is the student's."""
    return next((question for pattern, question in THINK if re.search(pattern, says)), OTHERWISE)


def _safe(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)
