"""MkDocs hooks: notebooks become pages, and a number and its spread stay on one line."""

from pathlib import PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

NO_BREAK = "\N{NO-BREAK SPACE}"


def on_files(files: Files, *, config: Any) -> Files:
    """Put a Markdown page and its pictures beside each notebook, from the outputs stored in it; nothing is run."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        path = PurePosixPath(notebook.src_uri)
        text, resources = MarkdownExporter().from_filename(notebook.abs_src_path)
        for name, content in resources["outputs"].items():
            picture = f"{path.stem}-{name}"
            text = text.replace(f"({name})", f"({picture})")
            files.append(File.generated(config, str(path.with_name(picture)), content=content))
        source = f"This page is the notebook [{path.name}]({path.name}), with the outputs of its last run."
        text = f"---\nhide: [toc]\n---\n{text}\n\n{source}\n"
        files.append(File.generated(config, str(path.with_suffix(".md")), content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Keep a number and its spread together."""
    return markdown.replace(" ± ", f"{NO_BREAK}±{NO_BREAK}")
