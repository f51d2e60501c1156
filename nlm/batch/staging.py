"""Where outputs are made before they are known to be whole and on record."""

import errno
import hashlib
import os
import secrets
import shutil


class Staging:
    """A folder for one run's unfinished outputs.

    What dead runs left is swept. Every run has a folder of its own, so that a straggler of a dead
    one finds none to write to.

    Parameters
    ----------
    folder : str
        Holds the folders of all runs; only the holder of the lock makes one.
    """

    def __init__(self, folder: str) -> None:
        self._all = folder
        self.folder = os.path.join(folder, secrets.token_hex(4))
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(self.folder)

    def place(self, number: int, target: str) -> str:
        """The path of the output with this number; its suffix is the target's."""
        return os.path.join(self.folder, f"{number}{os.path.splitext(target)[1]}")

    def remove(self) -> None:
        """Leave no trace."""
        shutil.rmtree(self._all, ignore_errors=True)


def put_in_place(staged: str, target: str) -> None:
    """Move a whole output to where it belongs, in one step."""
    try:
        os.replace(staged, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # another disk is mounted there; always the same name, so that a rerun takes its place
        digest = hashlib.blake2b(os.fsencode(target), digest_size=8).hexdigest()
        near = os.path.join(os.path.dirname(target), f".nlm-{digest}.part")
        try:
            shutil.copy2(staged, near)
            os.replace(near, target)
        except OSError:
            if os.path.exists(near):
                os.unlink(near)
            raise
        os.unlink(staged)
