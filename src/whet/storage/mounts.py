"""Is a folder on this machine's own disk? A database in WAL mode is not safe anywhere else."""

from __future__ import annotations

from pathlib import Path

import psutil

# Several kernels may have the same file there, but they do not share memory, which SQLite's write-ahead log needs
# (https://sqlite.org/wal.html: "all processes using a database must be on the same host computer"). 9p and virtiofs
# are left out: through them a sandbox or a virtual machine sees a folder that it mostly has to itself.
# fmt: off
_SHARED = frozenset({
    "acfs", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "dvs", "fhgfs", "gfs", "gfs2",
    "glusterfs", "gpfs", "kafs", "lustre", "ncpfs", "nfs", "nfs3", "nfs4", "ocfs2", "orangefs", "panfs",
    "prl_fs", "pvfs2", "quobyte", "smb", "smb2", "smb3", "smbfs", "vboxsf", "vmhgfs", "webdav", "wekafs",
    "fuse.beegfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.cvmfs2", "fuse.davfs", "fuse.davfs2", "fuse.gcsfuse",
    "fuse.glusterfs", "fuse.goofys", "fuse.juicefs", "fuse.lizardfs", "fuse.mfs", "fuse.moosefs",
    "fuse.mount-s3", "fuse.quobyte", "fuse.rclone", "fuse.s3fs", "fuse.saunafs", "fuse.seaweedfs",
    "fuse.smbnetfs", "fuse.sshfs", "fuse.vmhgfs-fuse",
})
# fmt: on


def shared_file_system(folder: Path) -> str | None:
    """Return the type of the network file system that *folder* is on, or ``None`` if it is on a local one."""
    partitions = psutil.disk_partitions(all=True)
    return _shared_type(folder.resolve(), [(Path(p.mountpoint), p.fstype) for p in partitions])


def _shared_type(folder: Path, mounts: list[tuple[Path, str]]) -> str | None:
    """Return the type if the innermost of *mounts*, (mount point, type), that holds *folder* is a shared one."""
    holding = [(len(point.parts), i, kind) for i, (point, kind) in enumerate(mounts) if folder.is_relative_to(point)]
    if not holding:
        return None
    kind = max(holding)[2].lower()  # of two mounts on one point the later one is seen
    return kind if kind in _SHARED else None
