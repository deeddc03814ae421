"""Assignments: cut from the solution, checked by the student, graded without trusting anyone."""
