"""The checks of the exercises: `python -m exercises.checks progress`, `check 1`, `hint 1`, etc.

`NN_name.py` has the checks and the hints of `exercises/NN_name.py`. The same checks are used for
the solutions, and for the plausible mistakes in `wrong/`. `reset` copies from `originals/`.
"""
