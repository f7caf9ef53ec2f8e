//! Who reaches whom, asked from inside pods' network namespaces: so it can be asked without the API
//! server too.

use crate::cluster::Cluster;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long policy may take, on a busy machine.
const SETTLE: Duration = Duration::from_secs(15);

/// Where a pod is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) node: String,
    pub(crate) addresses: Vec<String>,
}

/// The pods of a cluster that have addresses of their own, by name: no two have the same.
#[derive(Clone, Debug)]
pub(crate) struct Pods(BTreeMap<String, Place>);

impl Pods {
    /// As the API server has them now.
    pub(crate) fn of(cluster: &Cluster) -> Pods {
        let text = cluster.kubectl("get pods -A -o json");
        let list: Value = serde_json::from_str(&text).expect("JSON");
        let pods = list["items"].as_array().expect("a list").iter();
        let pods = pods.filter(|pod| pod["spec"]["hostNetwork"] != true);
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let place = |pod: &Value| {
            let addresses = pod["status"]["podIPs"].as_array().cloned().unwrap_or_default();
            let addresses = addresses.iter().map(|one| word(&one["ip"])).collect();
            (
                word(&pod["metadata"]["name"]),
                Place { node: word(&pod["spec"]["nodeName"]), addresses },
            )
        };
        Pods(pods.map(place).collect())
    }

    pub(crate) fn place(&self, pod: &str) -> &Place {
        self.0.get(pod).unwrap_or_else(|| panic!("no pod {pod}: {self:?}"))
    }

    /// The pod's first address.
    pub(crate) fn address(&self, pod: &str) -> &str {
        self.place(pod).addresses.first().unwrap_or_else(|| panic!("{pod} has no address"))
    }

    /// A shell line in a pod's network namespace, with the node's programs: what it prints, and
    /// whether it succeeded.
    pub(crate) fn try_inside(&self, cluster: &Cluster, pod: &str, line: &str) -> (bool, String) {
        let address = self.address(pod);
        // containerd keeps the namespaces of pods there.
        let find = format!(
            "for pod in /run/netns/*; do \
                 nsenter --net=$pod ip -o addr show 2>/dev/null | grep -q ' {address}/' || continue; \
                 exec nsenter --net=$pod sh -c \"$1\"; \
             done; echo 'no network namespace with {address}'; exit 99"
        );
        let node = &self.place(pod).node;
        let output = cluster.command(&["exec", node, "--", "sh", "-c", &find, "sh", line]).output();
        let output = output.expect("calico lab exec starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!said.contains("no network namespace"), "{pod}: {said}");
        (output.status.success(), said)
    }

    /// The same; it must succeed.
    pub(crate) fn inside(&self, cluster: &Cluster, pod: &str, line: &str) -> String {
        let (succeeded, said) = self.try_inside(cluster, pod, line);
        assert!(succeeded, "{pod}: {line}: {said}");
        said
    }

    /// Whether a pod reaches another; `how` is `ping` or `tcp/PORT`.
    pub(crate) fn reaches(&self, cluster: &Cluster, from: &str, to: &str, how: &str) -> bool {
        let to = self.address(to);
        let line = match how.strip_prefix("tcp/") {
            None => format!("ping -c1 -W1 {to}"),
            Some(port) => format!("curl -s -m1 -o /dev/null http://{to}:{port}/"),
        };
        self.try_inside(cluster, from, &line).0
    }

    /// Every line comes out as it says, soon: `FROM TO ping|tcp/PORT allowed|denied`.
    pub(crate) fn come_out(&self, cluster: &Cluster, table: &str) {
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [from, to, how, verdict @ ("allowed" | "denied")] = words[..] else {
                panic!("{line}")
            };
            let allowed = verdict == "allowed";
            cluster.within(SETTLE, line, |cluster| self.reaches(cluster, from, to, how) == allowed);
        }
    }
}
