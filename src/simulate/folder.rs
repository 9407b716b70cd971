//! The folder of a simulation, known by its truth table: what in it are frames, and what the table says of each.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::truth::COLUMNS;
use crate::error::{Failure, Kind, Result};

/// The truth table.
pub const TRUTH: &str = "truth.csv";
/// The folder of the frames without noise, where they were asked for.
pub const CLEAN: &str = "clean";
/// The folder of the masks, where they were asked for.
pub const MASKS: &str = "masks";

/// Whether a folder is a simulation's.
pub fn is_simulation(folder: &Path) -> bool {
    let wanted = COLUMNS.join(",");
    let mut head = vec![0; wanted.len()];
    let read = File::open(folder.join(TRUTH)).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head == wanted.as_bytes()
}

/// Whether a folder holds a simulation's clean twins or masks.
pub fn is_beside_frames(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name == CLEAN || name == MASKS) && folder.parent().is_some_and(is_simulation)
}

/// Whether a file is a simulation's truth table.
pub fn is_truth(file: &Path) -> bool {
    let named = file.file_name().is_some_and(|name| name == TRUTH || name == "truth.parquet");
    named && file.parent().is_some_and(is_simulation)
}

/// Refuses paths among a simulation's clean twins and masks where frames are asked for.
///
/// # Errors
/// [`Kind::Usage`] naming the path, and the simulation to give instead.
pub fn only_frames(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let absolute = resolved(path);
        if let Some(beside) = absolute.ancestors().find(|folder| is_beside_frames(folder)) {
            let simulation = beside.parent().unwrap_or(beside).display();
            return Err(Failure::new(
                Kind::Usage,
                format!("{}: clean twins and masks of a simulation are no frames", path.display()),
            )
            .hint(format!(
                "the frames are those of {simulation}; clean twins go with --clean {simulation}/{CLEAN}, masks with --masks \
                 {simulation}"
            )));
        }
    }
    Ok(())
}

/// Where a simulation's clean twins are: in their folder, of which the simulation is enough to name. Any other path is itself.
///
/// # Errors
/// [`Kind::Usage`] for a path to other parts of a simulation.
pub fn clean_twins(path: &Path) -> Result<PathBuf> {
    if is_simulation(path) {
        return Ok(path.join(CLEAN));
    }
    let absolute = resolved(path);
    match absolute.ancestors().find(|folder| is_simulation(folder)) {
        Some(simulation) if !absolute.starts_with(simulation.join(CLEAN)) => {
            let twins = simulation.join(CLEAN);
            Err(Failure::new(Kind::Usage, format!("{}: not the clean twins of its simulation", path.display()))
                .hint(format!("they are in {}", twins.display())))
        }
        _ => Ok(path.to_path_buf()),
    }
}

/// The path itself, behind links.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_path_buf())
}

/// What the truth tables of simulations say, each read once.
#[derive(Debug, Default)]
pub struct Truths {
    /// Kinds by file, of each simulation.
    tables: HashMap<PathBuf, HashMap<String, String>>,
    /// The simulation that a folder is or lies in, and the folder's path in it.
    of: HashMap<PathBuf, Option<(PathBuf, PathBuf)>>,
}

impl Truths {
    /// What a file is: `normal` or the kind of its anomaly; `None` for one that no table names.
    ///
    /// # Errors
    /// [`Kind::Data`] naming a table that cannot be read.
    pub fn kind_of(&mut self, file: &Path) -> Result<Option<&str>> {
        let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return Ok(None) };
        let find = || {
            // The folder of a bare name is the empty path.
            let folder = resolved(if folder == Path::new("") { Path::new(".") } else { folder });
            let root = folder.ancestors().find(|above| is_simulation(above))?;
            Some((root.to_path_buf(), folder.strip_prefix(root).ok()?.to_path_buf()))
        };
        let Some((root, below)) = self.of.entry(folder.to_path_buf()).or_insert_with(find).clone() else {
            return Ok(None);
        };
        if !self.tables.contains_key(&root) {
            self.tables.insert(root.clone(), read(&root.join(TRUTH))?);
        }
        let name = below.join(name).to_string_lossy().into_owned();
        Ok(self.tables.get(&root).and_then(|kinds| kinds.get(&name)).map(String::as_str))
    }
}

/// Kinds by file.
fn read(table: &Path) -> Result<HashMap<String, String>> {
    let wrong = |error: csv::Error| Failure::new(Kind::Data, format!("{}: {error}", table.display()));
    let rows = csv::Reader::from_path(table).map_err(wrong)?.into_records();
    rows.map(|row| row.map(|row| (row[0].to_string(), row[1].to_string())).map_err(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Instrument, Request, make};

    fn simulation(out: PathBuf) -> PathBuf {
        let kinds = Instrument::Detector.kinds().to_vec();
        let (instrument, count, seed, size) = (Instrument::Detector, 4, 1, 64);
        let (split, clean, masks) = (false, true, true);
        make(
            &Request { instrument, count, seed, anomalies: 0.5, kinds, size, split, clean, masks, out: out.clone() },
            || (),
        )
        .unwrap();
        out
    }

    #[test]
    fn a_truth_table_tells_frames_from_what_lies_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = simulation(folder.path().join("sim"));
        for (path, is_frames) in [("", true), ("frames", true), ("clean/frames", false), ("masks", false)] {
            assert_eq!(only_frames(&[root.join(path)]).is_ok(), is_frames, "{path}");
        }
        let failure = only_frames(&[root.join("masks/frames/frame-000000.png")]).unwrap_err();
        assert!(failure.to_string().contains(&format!("the frames are those of {}", root.display())), "{failure}");
        assert_eq!(clean_twins(&root).unwrap(), root.join(CLEAN));
        assert_eq!(clean_twins(&root.join("clean/frames")).unwrap(), root.join("clean/frames"));
        assert!(clean_twins(&root.join("frames")).is_err() && clean_twins(&root.join("masks")).is_err());
        // A link changes nothing.
        let link = folder.path().join("night");
        std::os::unix::fs::symlink(root.join("masks"), &link).unwrap();
        assert!(only_frames(&[link]).is_err());
        assert!(is_truth(&root.join(TRUTH)) && !is_truth(&folder.path().join(TRUTH)));
        // Somebody else's folders of these names mean nothing.
        std::fs::write(root.join(TRUTH), "file,kind\nframes/frame-000000.png,normal\n").unwrap();
        assert!(only_frames(&[root.join("masks")]).is_ok());
    }

    #[test]
    fn a_truth_table_says_what_a_frame_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = simulation(folder.path().join("sim"));
        let mut truths = Truths::default();
        let mut kinds: Vec<String> = (0..4)
            .map(|index| {
                let file = root.join(format!("frames/frame-{index:06}.png"));
                truths.kind_of(&file).unwrap().unwrap().to_string()
            })
            .collect();
        kinds.sort();
        assert_eq!(kinds, ["alpha_blob", "dead_region", "normal", "normal"]);
        assert_eq!(truths.kind_of(&root.join("frames/mine.png")).unwrap(), None);
        let link = folder.path().join("night");
        std::os::unix::fs::symlink(root.join("frames"), &link).unwrap();
        assert!(truths.kind_of(&link.join("frame-000000.png")).unwrap().is_some());
        assert_eq!(truths.kind_of(&folder.path().join("frame-000000.png")).unwrap(), None);
        std::fs::write(root.join(TRUTH), COLUMNS.join(",") + "\nframes/frame-000000.png\n").unwrap();
        let failure = Truths::default().kind_of(&root.join("frames/frame-000000.png")).unwrap_err();
        assert!(failure.kind == Kind::Data && failure.message.contains(TRUTH), "{failure}");
    }
}
