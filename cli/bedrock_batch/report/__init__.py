"""The report: what the queue did in a period, as figures and as one page of HTML.

``collect`` reads the rows, ``figures`` computes, and ``page`` draws. Only ``collect`` needs AWS.
"""

from .data import Data, collect
from .figures import Figures, document, figures
from .page import page

__all__ = ["Data", "Figures", "collect", "document", "figures", "page"]
