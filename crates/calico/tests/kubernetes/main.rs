//! Labs that are Kubernetes clusters: kube-apiserver, kubelets, containerd, kube-proxy, kubectl, all
//! as others built them. `make test-kubernetes` runs them, as root.

mod annotations;
mod audit;
mod bad_input;
mod churn;
mod cluster;
mod connections;
mod controllers;
mod dual_stack;
mod installation;
mod kills;
mod ledger;
mod lifecycle;
mod manifest;
mod native;
mod outage;
mod own_manifest;
mod pods;
mod removal;
mod replacement;
mod services;
mod workloads;
mod works;
