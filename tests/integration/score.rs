//! `score` from the outside.

use super::watch::{House, has_model, image};

#[test]
fn every_file_ends_scored_or_rejected() {
    if !has_model() {
        return;
    }
    let house = House::new();
    for index in 0..50 {
        std::fs::write(house.path(&format!("inbox/{index}.png")), image(index)).unwrap();
    }
    std::fs::write(house.path("inbox/junk"), b"junk").unwrap();
    std::fs::write(house.path("inbox/empty"), b"").unwrap();
    let output = house.run(&["score", "digits", "inbox", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["files"], 52);
    let scored = summary["scored"].as_u64().unwrap();
    assert_eq!(scored + summary["known"].as_u64().unwrap(), 50);
    assert_eq!((&summary["rejected"], &summary["unfinished"]), (&2.into(), &0.into()));
    // A minute ago frames were scored, but nobody scores now.
    let line = &house.status()["pipelines"]["digits"];
    assert_eq!((&line["scored"], &line["rate"]), (&scored.into(), &serde_json::Value::Null));
    let again = house.run(&["score", "digits", "inbox", "--json"]);
    let summary: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&summary["scored"], &summary["known"]), (&0.into(), &52.into()));
    let rows = house.run(&["query", "SELECT COUNT(*) AS n FROM scores", "--format", "csv"]);
    assert_eq!(String::from_utf8_lossy(&rows.stdout).lines().nth(1), Some(scored.to_string().as_str()));
}
