"""What checks the exercises: `python -m exercises.checks progress`, `check 1`, `hint 1` and so on.

`NN_name.py` here are the checks of `exercises/NN_name.py`, with its hints. The same checks serve
the solutions, and the plausible mistakes in `wrong/`. `originals/` is what `reset` brings back.
"""
