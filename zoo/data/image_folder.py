"""Lists the pictures of a folder with one sub-folder per class, or with train, validation and test folders of such.

Without labels, pictures may lie anywhere below it.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from zoo.data.bad_files import BadFile
from zoo.data.grouping import refuse_useless_groups
from zoo.data.inspecting import claims
from zoo.data.listing import PARTS, Listing
from zoo.data.walking import FoundFile, files_under, is_litter
from zoo.errors import DataError, UsageError

_EXPECTED = (
    "Expected a folder for each class, as in {0}/cat/1.jpg and {0}/dog/2.jpg (or train/, val/ and test/ folders of "
    "such); or a table of path,label: a .csv file."
)
_LOOKED_AT = 10_000


def list_folder(
    name: str, folder: str, *, follow_links: bool = False, group_by: str | None = None, unlabelled: bool = False
) -> Listing:
    """Returns the files of an image folder with their classes.

    Args:
        name: What the user called it.
        folder: Where it lies.
        follow_links: Whether symbolic links are followed.
        group_by: A regular expression that is searched in each path relative to the folder (parts between slashes);
            its first group, or else all that matched, names the group. A file without a match is in no group.
        unlabelled: Whether all files below the folder are taken, as of one class without a name. Where all pictures
            lie in folders called train, val or test, these are parts all the same.

    Raises:
        DataError: There are no pictures in it, or none in class folders.
        UsageError: `group_by` is no regular expression, or tells no groups apart.
    """
    pattern = _compiled(group_by)
    links: list[str] = []
    found = list(files_under(folder, follow_links=follow_links, links=links))
    paths = [each.path for each in found if each.status]
    depth = _depth_of_parts(paths) if unlabelled else 2 if _has_parts(name, paths) else 1
    listing = Listing(name, str(Path(folder).absolute()), links=links)
    for each in found:
        _enter(listing, each, depth, pattern, unlabelled=unlabelled)
    if not listing.paths:
        raise DataError(_nothing_found(folder, found, follow_links))
    if group_by is not None:
        pictures = [row for row, path in enumerate(listing.paths) if claims(path)] or range(len(listing.paths))
        groups = [listing.groups[row] for row in pictures]
        refuse_useless_groups(groups, group_by, "paths", listing.paths[pictures[0]])
    if unlabelled:
        return listing
    with_pictures = set(listing.labels)
    listing.empty = sorted(_class_folders(folder, depth, follow_links) - with_pictures)
    return listing


def _compiled(group_by: str | None) -> re.Pattern[str] | None:
    try:
        return None if group_by is None else re.compile(group_by)
    except re.error as error:
        raise UsageError(
            f"Expected a regular expression to group the paths of pictures by; got {group_by!r}: {error}. "
            "For example '([^/]+)_[0-9]+[.]jpg$'."
        ) from error


def _has_parts(name: str, paths: Sequence[str]) -> bool:
    """Returns whether the folders at the top are parts (train, test) and not classes.

    Raises:
        DataError: They are, and cannot be used so.
    """
    likely = [path for path in paths if claims(path)] or [path for path in paths if not PurePosixPath(path).suffix]
    pictures = [path.split("/") for path in likely]
    tops = {parts[0] for parts in pictures if len(parts) > 1}
    direct = sorted({parts[0] for parts in pictures if len(parts) == 2})
    parts_in = {top for top in tops if top.lower() in PARTS}
    if not parts_in or parts_in != tops:
        if len(parts_in) > 1 and not parts_in & set(direct):
            others = ", ".join(f"{top}/" for top in sorted(tops - parts_in)[:3])
            raise DataError(
                f"{name} has {', '.join(f'{top}/' for top in sorted(parts_in))} with folders of pictures in them, and "
                f"{others} beside. If those are parts of the data, move {others} away (parts are called train, val and "
                "test); if they are classes, rename them."
            )
        return False
    if len(direct) == len(tops):
        raise DataError(
            f"{name}: the pictures lie directly in {', '.join(f'{top}/' for top in direct)}. "
            + _EXPECTED.format("train")
        )
    if not any(PARTS[top.lower()] == 0 for top in tops):
        raise DataError(
            f"{name} has {', '.join(f'{top}/' for top in sorted(tops))} and no train/ folder with pictures."
        )
    return True


def _depth_of_parts(paths: Sequence[str]) -> int:
    """Returns 1 where the folders at the top are parts with all pictures in them, and else 0."""
    pictures = [path.split("/") for path in paths if claims(path)]
    are_parts = pictures and all(len(parts) > 1 and parts[0].lower() in PARTS for parts in pictures)
    return 1 if are_parts and any(PARTS[parts[0].lower()] == 0 for parts in pictures) else 0


def _enter(
    listing: Listing, found: FoundFile, depth: int, pattern: re.Pattern[str] | None, *, unlabelled: bool = False
) -> None:
    """Enters a file into the list, or into what cannot be used. With parts, `depth` is 2, or 1 without labels."""
    if found.status is None:
        listing.bad.append(BadFile(found.path, found.fault or ""))
        return
    parts = found.path.split("/")
    has_parts = depth == (1 if unlabelled else 2)
    if has_parts and parts[0].lower() not in PARTS:
        listing.others += 1
        return  # notes beside the parts; with pictures in them it would be a class
    if len(parts) <= depth:
        if claims(found.path):
            listing.bad.append(BadFile(found.path, "it lies in no class folder"))
        else:
            listing.others += 1
        return
    listing.paths.append(found.path)
    listing.statuses.append(found.status)
    listing.labels.append("" if unlabelled else parts[depth - 1])
    if has_parts:
        listing.parts.append(PARTS[parts[0].lower()])
    if pattern:
        match = pattern.search(found.path)
        listing.groups.append((match[1] if pattern.groups else match[0]) or "" if match else "")


def _class_folders(folder: str, depth: int, follow_links: bool) -> set[str]:
    """Returns the names of all class folders, with pictures or without."""
    folders = [folder]
    for level in range(depth):
        inside = [entry for each in folders for entry in _folders_in(each, follow_links)]
        folders = [path for path, name in inside if level or depth == 1 or name.lower() in PARTS]
        names = {name for _, name in inside}
    return names


def _folders_in(folder: str, follow_links: bool) -> list[tuple[str, str]]:
    try:
        with os.scandir(folder) as entries:
            return [
                (entry.path, entry.name)
                for entry in entries
                if not is_litter(entry.name) and entry.is_dir(follow_symlinks=follow_links)
            ]
    except OSError:
        return []


def _nothing_found(folder: str, found: Sequence[FoundFile], follow_links: bool) -> str:
    """Returns why there is nothing to use, and what to do."""
    expected = " " + _EXPECTED.format(folder)
    direct = [each.path for each in found if each.status and claims(each.path)]
    if direct:
        return f"The {len(direct):,} pictures in {folder} (such as {direct[0]}) lie in no class folder." + expected
    unread = [each for each in found if each.fault]
    if unread:
        return f"No images under {folder}: {unread[0].path}: {unread[0].fault}."
    return no_images(folder, [each.path for each in found], follow_links)


def no_images(folder: str, others: Sequence[str], follow_links: bool) -> str:
    """Returns the message for a folder without pictures.

    Args:
        folder: Where.
        others: Paths of files that were seen and are no pictures.
        follow_links: Whether links were followed.
    """
    if others:
        what = f"{len(others):,} files, none of them a picture, such as {others[0]}"
    else:
        what = _hidden_or_links(folder, follow_links) or "it is empty"
    return f"No images under {folder}: {what}. " + _EXPECTED.format(folder)


def _hidden_or_links(folder: str, follow_links: bool) -> str:
    hidden = links = 0
    seen = itertools.islice(os.walk(folder), _LOOKED_AT)
    for path, folders, names in seen:
        for name in [*folders, *names]:
            if not follow_links and Path(path, name).is_symlink():
                links += 1
            elif is_litter(name):
                hidden += 1
    if links:
        return f"it has {links:,} symbolic links, which are not followed (--follow-links; follow_links=True)"
    return f"it has hidden files only ({hidden:,})" if hidden else ""
