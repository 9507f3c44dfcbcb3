"""Components of networks that route, remember and weigh losses."""

from lab.mahia.precision import PRECISIONS, PrecisionManager

__all__ = ["PRECISIONS", "PrecisionManager"]
