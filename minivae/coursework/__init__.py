"""Assignments: cut from the solution, checked by the student, graded without trusting anyone.

    assignment, cut, build                    what students are handed
    testing, diagnose, report                 what is asked of their code, and what is said about the answer
    submission, entries, source, imports      what they hand in
    roster, handing_in                        who handed it in; what to hand in, said while there is time
    nursery, student, student_process         their process, forked from one that is ready
    working_tree                              where it runs
    things, wire                              what goes to and fro
    purity, evaluations, looks                what a function may not write into; is a derivative measured?
    under, parts                              the solution's parts under a task: the judge's end, and the other
    counted, meter, confined, budget          what a file's steps cost: a NumPy that counts, and no way round it
    sandbox, seccomp, worlds, watch           the walls around it
    grade, verify, cli                        the judge, and the judge of the judge
    classroom, gradebook                      a class, and what is kept of it
    on_paper                                  what a person reads and gives points for
    feedback, lms, summary                    for the student, for Canvas and Moodle, for the next lecture

What runs in the student's process stands alone, and imports nothing of minivae.  The assignments lie in
chapters/assignments.
"""
