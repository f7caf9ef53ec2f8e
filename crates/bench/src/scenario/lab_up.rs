//! `calico lab up` of the default four nodes.

use super::samples;
use crate::cluster::Cluster;
use crate::figure::{Figure, Target, Unit};
use anyhow::Result;

/// Starts and ends the lab `runs` times.
///
/// # Errors
/// It doesn't become ready.
pub(crate) fn measure(lab: &str, runs: u32) -> Result<Vec<Figure>> {
    let (mut ups, mut downs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (cluster, up) = Cluster::vxlan(lab, &[])?;
        ups.push(up.as_secs_f64());
        downs.push(cluster.down()?.as_secs_f64());
    }
    let (ups, downs) = (samples(ups)?, samples(downs)?);
    Ok(vec![
        Figure::median("lab up, four nodes", &ups, Unit::Seconds).wanted(Target::AtMost(10.0)),
        Figure::max("lab up, four nodes", &ups, Unit::Seconds),
        Figure::median("lab down", &downs, Unit::Seconds),
    ])
}
