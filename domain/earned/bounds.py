"""How sure one may be of a share that was seen."""

from math import sqrt


def wilson_lower(successes: int, trials: int, z: float) -> float:
    """The lower end of the Wilson score interval, without correction for continuity; 0 where nothing succeeded.

    Source  E. B. Wilson, JASA 22 (1927) 209-212; R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, method 3.
    """
    if successes == 0:
        return 0.0
    share, square = successes / trials, z * z
    middle = share + square / (2 * trials)
    reach = z * sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    return (middle - reach) / (1 + square / trials)
