"""Small files of every format that is read, written here by other libraries than those that read them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

import docx
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from pypdf import PdfReader, PdfWriter
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, PageBreak, Paragraph, SimpleDocTemplate

STYLES = {"#": "Heading1", "##": "Heading2", "": "BodyText"}


def pdf(*pages: Sequence[str], footer: str = "") -> bytes:
    """Paragraphs page by page; "# " and "## " begin headings. In a footer, {n} is the page's number."""
    styles = getSampleStyleSheet()
    flow: list[Flowable] = []
    for page in pages:
        for paragraph in page:
            mark, _, rest = paragraph.partition(" ")
            style, text = (STYLES[mark], rest) if mark in STYLES else (STYLES[""], paragraph)
            flow.append(Paragraph(text, styles[style]))
        flow.append(PageBreak())

    def draw(canvas: Canvas, _: object) -> None:
        canvas.drawString(72, 30, footer.replace("{n}", str(canvas.getPageNumber())))

    buffer = io.BytesIO()
    SimpleDocTemplate(buffer, pagesize=A4).build(flow, onFirstPage=draw, onLaterPages=draw)
    return buffer.getvalue()


def pdf_of(*pages: Sequence[str]) -> bytes:
    """Lines page by page, all in one size and one below the other."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4)
    for page in pages:
        for number, line in enumerate(page):
            canvas.drawString(72, 800 - 20 * number, line)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def encrypted(data: bytes, password: str) -> bytes:
    """Without a password of the user's, a PDF is still encrypted, and opens for anyone."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(data)))
    writer.encrypt(password, owner_password="owner", algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def pictures_only() -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    canvas.rect(100, 100, 50, 50, fill=1)
    canvas.save()
    return buffer.getvalue()


def word(*blocks: str | Sequence[Sequence[str]]) -> bytes:
    """Paragraphs, "# " and "## " headings, "- " items of a list, and tables as rows of cells."""
    document = docx.Document()
    for block in blocks:
        if not isinstance(block, str):
            table = document.add_table(len(block), len(block[0]))
            for row, cells in zip(table.rows, block, strict=True):
                for cell, text in zip(row.cells, cells, strict=True):
                    cell.text = text
            continue
        mark, _, rest = block.partition(" ")
        if mark in ("#", "##"):
            document.add_heading(rest, len(mark))
        elif mark == "-":
            document.add_paragraph(rest, style="List Bullet")
        else:
            document.add_paragraph(block)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def word_of(*blocks: str) -> bytes:
    """A document with these elements, as Word writes them."""
    document = docx.Document()
    for block in blocks:
        document.element.body.add_p().addnext(parse_xml(f"<w:body {nsdecls('w')}>{block}</w:body>")[0])
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
