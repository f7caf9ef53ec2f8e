//! Who reaches whom: a table of attempts, made all at once.

use crate::support::Lab;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How long a change may take until every attempt comes out as it should.
const SETTLE: Duration = Duration::from_secs(8);

/// A namespace of three tiers on three nodes, one of another team, a client in `default`.
pub(crate) const SHOP: &str = "
backend: vxlan
resources:
- apiVersion: projectcalico.org/v3
  kind: FelixConfiguration
  metadata: {name: default}
  spec: {programClusterRoutes: Enabled}
namespaces:
- {name: shop, labels: {team: shop}, serviceAccounts: {cart: {role: clerk}}}
- {name: bank, labels: {team: bank}}
pods:
- name: web
  namespace: shop
  node: worker-1
  labels: {app: web}
  ports: [{name: http, containerPort: 80}]
- name: api
  namespace: shop
  node: worker-2
  labels: {app: api}
  serviceAccount: api
  ports: [{name: http, containerPort: 8080}, {containerPort: 9090}]
- name: db
  namespace: shop
  node: worker-3
  labels: {app: db}
  serviceAccount: cart
  ports: [{name: sql, containerPort: 5432}, {name: clock, containerPort: 123, protocol: udp}]
- {name: teller, namespace: bank, node: worker-1, labels: {app: teller}}
- {name: client, node: master}
";

/// One attempt and how it should come out.
struct Attempt<'a> {
    from: &'a str,
    to: &'a str,
    port: &'a str,
    allowed: bool,
}

impl<'a> Attempt<'a> {
    /// `FROM TO PORT allowed|denied`, where PORT is `tcp/80`, `udp/53` or `ping`.
    fn parse(line: &'a str) -> Attempt<'a> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [from, to, port, verdict @ ("allowed" | "denied")] = words[..] else {
            panic!("not an attempt: {line:?}")
        };
        Attempt { from, to, port, allowed: verdict == "allowed" }
    }

    /// Starts it; it succeeds only if the very pod answers.
    fn start(&self, lab: &Lab) -> Child {
        let to = self.to;
        let line = match self.port.split_once('/') {
            Some(("tcp", port)) => format!(
                "curl -4 -s --connect-timeout 1 --max-time 4 http://{to}:{port}/ | grep '^{to} '"
            ),
            Some(("udp", port)) => format!(
                "bash -c 'exec 3<>/dev/udp/{to}/{port}; echo >&3; timeout 1 head -1 <&3' | \
                 grep '^{to} '"
            ),
            _ => format!("ping -4 -c1 -W1 {to}"),
        };
        let mut command = lab.at(self.from, &line);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("calico lab exec")
    }
}

impl Lab {
    /// Every line of a table comes out as it says, soon: `FROM TO PORT allowed|denied`.
    pub(crate) fn connections(&self, table: &str) {
        let lines: Vec<&str> = table.lines().filter(|line| !line.trim().is_empty()).collect();
        let attempts: Vec<Attempt<'_>> = lines.iter().map(|line| Attempt::parse(line)).collect();
        let start = Instant::now();
        loop {
            let running: Vec<Child> = attempts.iter().map(|attempt| attempt.start(self)).collect();
            let outcomes = running
                .into_iter()
                .map(|mut child| child.wait().expect("the attempt ends").success());
            let outcomes: Vec<bool> = outcomes.collect();
            let wrong = attempts.iter().zip(&outcomes);
            let wrong: Vec<String> = wrong
                .filter(|(attempt, outcome)| attempt.allowed != **outcome)
                .map(|(attempt, outcome)| {
                    let came = if *outcome { "answered" } else { "not answered" };
                    format!("{} → {} {}: {came}", attempt.from, attempt.to, attempt.port)
                })
                .collect();
            if wrong.is_empty() {
                return;
            }
            assert!(start.elapsed() < SETTLE, "still after {SETTLE:?}:\n{}", wrong.join("\n"));
        }
    }
}
