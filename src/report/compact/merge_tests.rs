use super::super::columns::MERGED;
use super::*;
use crate::report::schema::VERSION_KEY;

/// Writes a part with a schema version in its footer and small row groups.
fn write(path: &Path, version: u32, mut rows: DataFrame) {
    let size = 1 + rows.height() / 4;
    let pairs = KeyValueMetadata::from_static(vec![(VERSION_KEY.into(), version.to_string())]);
    ParquetWriter::new(File::create(path).unwrap())
        .with_row_group_size(Some(size))
        .with_key_value_metadata(Some(pairs))
        .finish(&mut rows)
        .unwrap();
}

fn rows(first: i32, count: i32) -> DataFrame {
    let numbers: Vec<i32> = (first..first + count).collect();
    let scores: Vec<f64> = numbers.iter().map(|number| f64::from(number % 5)).collect();
    DataFrame::new(numbers.len(), vec![Column::new("n".into(), numbers), Column::new("score".into(), scores)]).unwrap()
}

fn read(path: &Path) -> DataFrame {
    ParquetReader::new(File::open(path).unwrap()).finish().unwrap()
}

fn footer(path: &Path, key: &str) -> String {
    let mut reader = ParquetReader::new(File::open(path).unwrap());
    let pairs = reader.get_metadata().unwrap().key_value_metadata().clone().unwrap();
    pairs.into_iter().find(|pair| pair.key == key).unwrap().value.unwrap()
}

fn merge(parts: &[PathBuf], folder: &Path, full: u64) -> Result<Vec<Output>, Halt> {
    let merged = Merge { parts, folder, name: "new", full }.run(&mut || Ok(()))?;
    assert_eq!(merged.rows, parts.iter().map(|part| read(part).height()).collect::<Vec<_>>());
    Ok(merged.outputs)
}

#[test]
fn parts_of_different_ages_become_one_with_all_columns() {
    let root = tempfile::tempdir().unwrap();
    let parts: Vec<PathBuf> =
        ["1", "2", "3"].iter().map(|name| root.path().join(format!("part-{name}.parquet"))).collect();
    write(&parts[0], 1, rows(0, 10));
    let mut older = rows(10, 3);
    older.with_column(Column::new("gone".into(), ["x", "y", "z"])).unwrap();
    write(&parts[1], 1, older);
    let mut newer = rows(13, 2).lazy().with_column(col("n").cast(DataType::Int64)).collect().unwrap();
    newer.with_column(Column::new("kl".into(), [1.5f64, 2.5])).unwrap();
    write(&parts[2], 2, newer);
    let out = tempfile::tempdir().unwrap();
    let outputs = merge(&parts, out.path(), u64::MAX).unwrap();
    let path = out.path().join("part-new-1.parquet");
    assert_eq!((outputs.len(), outputs[0].batch.as_str(), outputs[0].rows), (1, "new-1", 15));
    assert_eq!(outputs[0].bytes, path.metadata().unwrap().len());
    let all = read(&path);
    let names: Vec<_> = all.get_column_names().iter().map(|name| name.to_string()).collect();
    assert_eq!(names, ["n", "score", "kl", "gone"]);
    assert_eq!((all.column("kl").unwrap().null_count(), all.column("gone").unwrap().null_count()), (13, 12));
    assert_eq!(all.column("n").unwrap().dtype(), &DataType::Int64);
    let scores: Vec<f64> = all.column("score").unwrap().f64().unwrap().into_no_null_iter().collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "the oddest first: {scores:?}");
    let mut numbers: Vec<i64> = all.column("n").unwrap().i64().unwrap().into_no_null_iter().collect();
    assert_eq!(&numbers[..3], [4, 9, 14], "in order where the score is the same");
    numbers.sort();
    assert_eq!(numbers, (0..15).collect::<Vec<i64>>());
    assert_eq!((footer(&path, VERSION_KEY), footer(&path, MERGED)), ("2".into(), "1 2 3".into()));
}

#[test]
fn a_large_day_becomes_several_parts_and_what_was_merged_stays_known() {
    let root = tempfile::tempdir().unwrap();
    let parts: Vec<PathBuf> = (0..3).map(|name| root.path().join(format!("part-{name}.parquet"))).collect();
    for (index, part) in parts.iter().enumerate() {
        write(part, 1, rows(60_000 * index as i32, 60_000));
    }
    let first = tempfile::tempdir().unwrap();
    let outputs = merge(&parts, first.path(), 1).unwrap();
    assert_eq!(outputs.iter().map(|output| output.rows).collect::<Vec<_>>(), [100_000, 80_000]);
    let merged: Vec<PathBuf> = outputs.iter().map(|o| first.path().join(format!("part-{}.parquet", o.batch))).collect();
    let second = tempfile::tempdir().unwrap();
    let again = merge(&merged, second.path(), u64::MAX).unwrap();
    assert_eq!((again.len(), again[0].rows), (1, 180_000));
    let path = second.path().join("part-new-1.parquet");
    assert_eq!(footer(&path, MERGED), "0 1 2");
    let mut reader = ParquetReader::new(File::open(&path).unwrap());
    assert_eq!(reader.get_metadata().unwrap().row_groups.len(), 2);
    assert_eq!(read(&path).column("n").unwrap().n_unique().unwrap(), 180_000);
}

#[test]
fn what_cannot_be_read_or_is_stopped_leaves_the_parts_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    let (good, torn) = (root.path().join("part-1.parquet"), root.path().join("part-2.parquet"));
    write(&good, 1, rows(0, 10));
    std::fs::write(&torn, b"PAR1 torn").unwrap();
    let out = tempfile::tempdir().unwrap();
    let Err(Halt::Later(reason)) = merge(&[good.clone(), torn], out.path(), 1) else { panic!("merged a torn part") };
    assert!(reason.contains("part-2.parquet"), "{reason}");
    let mut breaths = 0;
    let mut breath = || {
        breaths += 1;
        if breaths == 3 { Err(Halt::Stopped) } else { Ok(()) }
    };
    let merge = Merge { parts: std::slice::from_ref(&good), folder: out.path(), name: "new", full: 1 };
    assert!(matches!(merge.run(&mut breath), Err(Halt::Stopped)));
    assert_eq!(read(&good).height(), 10);
}
