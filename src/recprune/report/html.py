"""HTML from text that is not trusted: everything that comes from data goes through `esc`."""

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["esc", "html_table", "tag"]


def esc(value: object) -> str:
    """Escape for text and for attributes in double quotes; line breaks and controls become spaces.

    >>> esc('<b a="1">')
    '&lt;b a=&quot;1&quot;&gt;'
    """
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return escape(text, quote=True)


def tag(name: str, inner: str, **attributes: str) -> str:
    """An element around HTML; attribute values are escaped, `class_` is class, `aria_label` aria-label.

    >>> tag("p", "x", class_="note")
    '<p class="note">x</p>'
    """
    text = "".join(f' {key.rstrip("_").replace("_", "-")}="{esc(value)}"' for key, value in attributes.items())
    return f"<{name}{text}>{inner}</{name}>"


def html_table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """A table; on a phone each row becomes a block. Cells are HTML, heads plain text as HTML, the first cell a header.

    `numeric`: columns set to the right in figures of equal width.
    """

    def css(column: int) -> str:
        return ' class="n"' if column in numeric else ""

    def line(row: Sequence[str]) -> str:
        first = f'<th scope="row" role="rowheader"{css(0)}>{row[0]}</th>'
        rest = (
            f'<td role="cell" data-label="{head[i]}"{css(i)}>' + (f"<div>{row[i]}</div>" if row[i] else "") + "</td>"
            for i in range(1, len(row))
        )
        return f'<tr role="row">{first}{"".join(rest)}</tr>'

    heads = "".join(f'<th scope="col" role="columnheader"{css(i)}>{cell}</th>' for i, cell in enumerate(head))
    body = "".join(line(row) for row in rows)
    # The roles are said again because the narrow layout, a block for each row, takes them away in some browsers.
    return (
        f'<div class="scroll"><table role="table"><caption>{esc(caption)}</caption><thead role="rowgroup">'
        f'<tr role="row">{heads}</tr></thead><tbody role="rowgroup">{body}</tbody></table></div>'
    )
