"""Secrets that stand in files of their own."""

from __future__ import annotations

from pathlib import Path


def read_secret(setting: str, path: Path, problems: list[str]) -> str | None:
    """The text of a secret's file without the line end that editors and `echo` add."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        problems.append(f"{setting}: {path} does not exist; make it or correct the path")
    except UnicodeDecodeError:
        problems.append(f"{setting}: {path} is not UTF-8 text; write the secret as plain text")
    except OSError as error:
        problems.append(
            f"{setting}: {path} cannot be read ({error.strerror}); give the service's user the right to read it"
        )
    else:
        secret = text.removesuffix("\n").removesuffix("\r")
        if "\n" in secret:
            problems.append(f"{setting}: {path} has several lines; only the secret may stand in it")
        elif secret:
            return secret
        else:
            problems.append(f"{setting}: {path} is empty; write the secret into it")
    return None
