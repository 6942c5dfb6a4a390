//! The experiment `late-worker`, whose pools hang: its metrics, and that no worker is left.

use crate::harness::{Sandbox, stderr};

#[test]
fn a_hung_pool_is_reported_and_ended() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["run", "late-worker", "-d", "1", "--json", "-"]);
    // On a machine too loaded to run the workers in time, a case is inconclusive.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", stderr(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &document["results"][0];
    let cases = result["cases"].as_array().unwrap();
    let names: Vec<_> = cases.iter().map(|case| case["case"].as_str().unwrap()).collect();
    assert_eq!(names, ["unguarded", "fork", "forkserver", "spawn", "forkserver-module", "spawn-module"], "{result:#}");
    for case in cases.iter().filter(|case| case["metrics"]["settled"] == true) {
        let metrics = &case["metrics"];
        let expected = match case["case"].as_str().unwrap() {
            // Each of the first four workers loses its first task. Now and then one of them gets no task, because a
            // later worker was quicker.
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
    sandbox.assert_no_process_left("a hung pool");
}
