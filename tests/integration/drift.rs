//! The watch for drift from the outside: status, metrics, rows, `drift` and its reset. Takes the shipped model of `digits`.

use super::watch::{House, has_model, image, wait_until};

fn standing(house: &House) -> serde_json::Value {
    house.status()["pipelines"]["digits"]["drift"].clone()
}

#[test]
fn frames_that_are_no_digits_raise_it_and_a_person_resets_it() {
    if !has_model() {
        return;
    }
    let house = House::new();
    let daemon = house.start();
    assert_eq!((standing(&house)["raised"].as_bool(), standing(&house)["frames"].as_u64()), (Some(false), Some(0)));
    for seed in 0..60 {
        std::fs::write(house.path(&format!("inbox/{seed:02}.png")), image(seed)).unwrap();
    }
    daemon.wait_for("certificates are void");
    wait_until("status says so", || standing(&house)["raised"] == true);
    let status = house.status();
    assert_eq!(
        (status["conditions"][0]["reason"].as_str(), status["ready"].as_bool()),
        (Some("drift:digits"), Some(true))
    );
    // Raised it stays, though the bet may lose again.
    assert!(standing(&house)["scores_log10"].is_number() && standing(&house)["bound_log10"].is_number());

    // It is said when it happens, and kept when its rows are committed.
    let text = |arguments: &[&str]| String::from_utf8_lossy(&house.run(arguments).stdout).into_owned();
    let show = ["drift", "digits", "--out", "way.svg"];
    wait_until("the ledger knows", || text(&show).contains("raised: scores are not those"));
    assert!(text(&show).contains(": raised"), "{}", text(&show));
    let svg = std::fs::read_to_string(house.path("way.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("raised"));
    let sql =
        "SELECT certificate_void, count(*) AS frames FROM scores GROUP BY certificate_void ORDER BY certificate_void";
    wait_until("rows say so", || {
        let rows = text(&["query", sql, "--format", "json"]);
        rows.contains("true") && rows.contains("false")
    });

    assert_ne!(house.run(&["drift", "reset", "digits"]).status.code(), Some(0), "a reset needs a reason");
    assert!(house.run(&["drift", "reset", "digits", "--reason", "a test card was in front"]).status.success());
    wait_until("the service starts anew", || standing(&house)["raised"] == false);
    assert!(house.status()["conditions"].as_array().unwrap().is_empty());
    daemon.wait_for("a test card was in front");
    drop(daemon);
    assert!(
        !house.status()["pipelines"]["digits"]["drift"]["raised"].as_bool().unwrap_or(false),
        "killed, it is known"
    );
}
