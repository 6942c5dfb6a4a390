//! Atomic replacement of a file: a killed run leaves the earlier file as it was, and no part of a new one. A path that is not a
//! regular file (a pipe, a terminal, /dev/null) is written to directly, as any program would.

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file that does not have its name yet.
pub struct NewFile {
    file: File,
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    /// A file without a name, which disappears with the process.
    Unnamed,
    /// A temporary file of this name, on file systems without unnamed files (some network file systems).
    Temporary(PathBuf),
    /// An existing path that is not a regular file.
    Stream,
}

/// The reason why a file can't be written.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't write {path}: {error}; name a file in an existing folder where you have write permission and disk space"
)]
pub struct NewFileError {
    path: PathBuf,
    error: io::Error,
}

impl NewFile {
    /// Opens the file, so that a missing permission is known before anything is measured. Symbolic links are followed.
    ///
    /// # Errors
    /// The folder does not exist or is not writable, or `path` is itself a folder, or names no file.
    pub fn open(path: &Path) -> Result<Self, NewFileError> {
        Self::try_open(path).map_err(|error| NewFileError { path: path.to_path_buf(), error })
    }

    fn try_open(path: &Path) -> io::Result<Self> {
        let path = destination(path)?;
        let earlier = fs::metadata(&path).ok();
        match &earlier {
            Some(earlier) if earlier.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Some(earlier) if !earlier.is_file() => {
                let file = OpenOptions::new().write(true).open(&path)?;
                return Ok(Self { file, path, kind: Kind::Stream });
            }
            // Replacing the file would bypass its own permissions.
            Some(_) => drop(OpenOptions::new().write(true).open(&path)?),
            None => {}
        }
        let mode = earlier.map_or(0o644, |earlier| earlier.permissions().mode() & 0o7777);
        // O_TMPFILE (open(2)): a file without a name, in that folder's file system.
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let (file, kind) = match open(folder_of(&path), flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => (file.into(), Kind::Unnamed),
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
                let temporary = temporary_name(&path);
                let file = OpenOptions::new().read(true).write(true).create_new(true).open(&temporary)?;
                (file, Kind::Temporary(temporary))
            }
            Err(error) => return Err(error.into()),
        };
        file.set_permissions(Permissions::from_mode(mode))?;
        Ok(Self { file, path, kind })
    }

    /// Appends what `write` writes, in pieces.
    ///
    /// # Errors
    /// That of `write`, or a full disk.
    pub fn append_by(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut file = BufWriter::new(&self.file);
        write(&mut file)?;
        file.flush()
    }

    /// Waits until the content is on the disk.
    ///
    /// # Errors
    /// A full disk, most likely.
    pub fn sync(&self) -> io::Result<()> {
        if let Kind::Stream = self.kind { Ok(()) } else { self.file.sync_all() }
    }

    /// Gives the file its name, in place of an earlier file of that name, and returns it, for more to be appended.
    ///
    /// # Errors
    /// The folder is not writable any more; an earlier file is left as it was.
    pub fn into_named(mut self) -> io::Result<File> {
        let file = self.file.try_clone()?;
        self.give_name()?;
        Ok(file)
    }

    /// Writes `content` and gives the file its name, in place of an earlier file of that name. Returns the path.
    ///
    /// # Errors
    /// A full disk, most likely; an earlier file is left as it was.
    pub fn replace(self, content: &[u8]) -> Result<PathBuf, NewFileError> {
        self.replace_by(|file| file.write_all(content))
    }

    /// Has `write` write the content in pieces, and gives the file its name as [`NewFile::replace`] does.
    ///
    /// # Errors
    /// That of `write`, or as [`NewFile::replace`]; an earlier file is left as it was.
    pub fn replace_by(mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<PathBuf, NewFileError> {
        match self.try_replace(write) {
            Ok(()) => Ok(self.path.clone()),
            Err(error) => Err(NewFileError { path: self.path.clone(), error }),
        }
    }

    fn try_replace(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        self.append_by(write)?;
        self.sync()?;
        self.give_name()
    }

    fn give_name(&mut self) -> io::Result<()> {
        if let Kind::Unnamed = self.kind {
            // linkat(2) refuses an existing name, so the complete file gets a temporary name first, which is then renamed.
            let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let temporary = temporary_name(&self.path);
            linkat(CWD, own, CWD, &temporary, AtFlags::SYMLINK_FOLLOW)?;
            self.kind = Kind::Temporary(temporary);
        }
        if let Kind::Temporary(temporary) = &self.kind {
            fs::rename(temporary, &self.path)?;
        }
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After the rename there is no file of that name.
        if let Kind::Temporary(temporary) = &self.kind {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Returns a name that differs from any that a killed process left, even if its process id was reused.
fn temporary_name(path: &Path) -> PathBuf {
    let stamp = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    folder_of(path).join(format!(".busy-{}-{stamp}", std::process::id()))
}

/// Returns the path that is written to if `path` is: symbolic links are followed, also one whose target does not exist yet.
///
/// # Errors
/// `path` names no file, or a folder of it can't be searched.
pub fn destination(path: &Path) -> io::Result<PathBuf> {
    // A file that does not exist can't have a name that ends so; renaming would fail only after the work.
    let names_folder = [&b"/"[..], b"/.", b"/.."].iter().any(|end| path.as_os_str().as_bytes().ends_with(end));
    match path.canonicalize() {
        // A pipe behind /dev/stdout has no path of its own.
        Err(_) if path.exists() => return Ok(path.to_path_buf()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let name = path.file_name().filter(|_| !names_folder).ok_or(io::ErrorKind::IsADirectory);
    let name = name.map_err(|error| match path.as_os_str().is_empty() {
        true => io::Error::new(io::ErrorKind::InvalidInput, "the name of the file is empty"),
        false => error.into(),
    })?;
    match fs::read_link(path) {
        // canonicalize reports a circle of links, so this ends.
        Ok(target) => destination(&folder_of(path).join(target)),
        Err(_) => Ok(folder_of(path).canonicalize()?.join(name)),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_and_replaces_an_earlier_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        for content in ["first", "second"] {
            let new = NewFile::open(&path).unwrap();
            let before = fs::read_to_string(&path).unwrap_or_default();
            assert_ne!(before, content);
            assert_eq!(new.replace(content.as_bytes()).unwrap(), path);
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left in the folder");
    }

    #[test]
    fn a_file_that_is_never_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(NewFile::open(&folder.path().join("result.json")).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_earlier_file_stays_if_the_content_can_not_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        fs::write(&path, "first").unwrap();
        let new = NewFile::open(&path).unwrap();
        let failed = new.replace_by(|file| file.write_all(b"half").and(Err(io::ErrorKind::StorageFull.into())));
        assert!(failed.unwrap_err().to_string().contains("result.json"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_followed_and_permissions_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("result.json"), folder.path().join("latest.json"));
        fs::write(&path, "first").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        NewFile::open(&link).unwrap().replace(b"second").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_link_to_a_file_that_does_not_exist_yet_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [path, near, far] = ["result.json", "near.json", "far.json"].map(|name| folder.path().join(name));
        std::os::unix::fs::symlink("result.json", &near).unwrap();
        std::os::unix::fs::symlink(&near, &far).unwrap();
        NewFile::open(&far).unwrap().replace(b"first").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        assert!([&near, &far].iter().all(|link| fs::symlink_metadata(link).unwrap().is_symlink()));
        // A circle of links has no target.
        fs::remove_file(&near).unwrap();
        std::os::unix::fs::symlink(&far, &near).unwrap();
        assert!(NewFile::open(&far).is_err());
    }

    #[test]
    fn a_pipe_without_a_path_of_its_own_is_written_to() {
        let (mut reader, writer) = io::pipe().unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", writer.as_raw_fd()));
        NewFile::open(&path).unwrap().replace(b"through").unwrap();
        drop(writer);
        assert_eq!(io::read_to_string(&mut reader).unwrap(), "through");
    }

    #[test]
    fn a_path_that_is_not_a_regular_file_is_written_to_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(CWD, &fifo, Mode::from_raw_mode(0o600)).unwrap();
        let read = std::thread::spawn({
            let fifo = fifo.clone();
            move || fs::read_to_string(fifo).unwrap()
        });
        NewFile::open(&fifo).unwrap().replace(b"through").unwrap();
        assert_eq!(read.join().unwrap(), "through");
        assert!(!fs::metadata(&fifo).unwrap().is_file());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_impossible_path_fails_at_once() {
        let folder = tempfile::tempdir().unwrap();
        assert!(NewFile::open(&folder.path().join("no/such/folder.json")).is_err());
        assert!(NewFile::open(folder.path()).is_err());
        for end in ["new/", "new/.", "new/..", "new//"] {
            assert!(NewFile::open(&folder.path().join(end)).is_err(), "{end}");
        }
        assert!(NewFile::open(Path::new("")).is_err_and(|error| error.to_string().contains("is empty")));
    }
}
