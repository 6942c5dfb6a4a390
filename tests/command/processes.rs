//! Experiments that start processes of their own: what they find, and that none stays.

use crate::harness::{Bench, stderr};

#[test]
fn a_pool_that_hangs_is_seen_to_hang_and_ended() {
    let bench = Bench::new();
    let output = bench.run(&["run", "late-worker", "-d", "1", "--json", "-"]);
    // On a machine that starves it, a case is inconclusive.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", stderr(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &document["results"][0];
    let cases = result["cases"].as_array().unwrap();
    let names: Vec<_> = cases.iter().map(|case| case["case"].as_str().unwrap()).collect();
    assert_eq!(names, ["unguarded", "fork", "forkserver", "spawn", "forkserver-module", "spawn-module"], "{result:#}");
    for case in cases.iter().filter(|case| case["metrics"]["settled"] == true) {
        let metrics = &case["metrics"];
        let expected = match case["case"].as_str().unwrap() {
            // Each of the first four loses its first task; now and then one gets none, since a later worker was quicker.
            "fork" => {
                let died = metrics["died"].as_u64().unwrap();
                assert!((1..=4).contains(&died), "{case:#}");
                (10 - died, true)
            }
            "forkserver" | "spawn" => (0, true),
            "unguarded" => continue,
            _ => (10, false),
        };
        assert_eq!((metrics["done"].as_u64().unwrap(), metrics["hung"].as_bool().unwrap()), expected, "{case:#}");
        assert_eq!(metrics["lost_tasks"].as_array().unwrap().len(), 10 - expected.0 as usize, "{case:#}");
    }
    bench.assert_nobody_left("a pool that hangs");
}
