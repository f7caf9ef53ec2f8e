//! EndpointSlices by the Service that they belong to.

use super::nets::Nets;
use super::objects::{Key, Objects};
use crate::input::{EndpointSlice, EndpointSliceId, ServiceId};
use crate::output::Member;
use hashbrown::HashMap;

/// An EndpointSlice as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slice {
    pub(super) service: ServiceId,
    addresses: Nets,
    ports: Box<[(u8, u16)]>,
}

/// The EndpointSlices.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    slices: Objects<Slice>,
    by_service: HashMap<ServiceId, Vec<u32>>,
}

impl Slice {
    /// What it adds to a set of its service.
    pub(super) fn members(&self, with_ports: bool, mut each: impl FnMut(Member)) {
        for net in self.addresses.iter() {
            if !with_ports {
                each(Member::Net(net));
                continue;
            }
            for (protocol, port) in &self.ports {
                let (address, protocol, port) = (net.addr(), *protocol, *port);
                each(Member::Port { address, protocol, port });
            }
        }
    }
}

impl Services {
    pub(super) fn set(&mut self, id: &EndpointSliceId, slice: Option<Box<EndpointSlice>>) {
        let key = Key { kind: 0, namespace: &id.namespace, name: &id.name };
        let slice = slice.map(|slice| Slice {
            service: slice.service,
            addresses: Nets::of_addresses(&slice.addresses),
            ports: slice.ports.into(),
        });
        self.slices.set(key, slice);
    }

    /// Each change since this was last called: before, and now.
    pub(super) fn take_changes(&mut self, mut each: impl FnMut(Option<&Slice>, Option<&Slice>)) {
        let changes = self.slices.take_changes();
        for number in changes.numbers {
            let before = changes.before.get(&number);
            if let Some(before) = before
                && let Some(numbers) = self.by_service.get_mut(&before.service)
            {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    self.by_service.remove(&before.service);
                }
            }
            let now = self.slices.get(number);
            if let Some(now) = now {
                self.by_service.entry(now.service.clone()).or_default().push(number);
            }
            each(before, now);
            self.slices.forget_unused(number);
        }
    }

    /// The slices of a service.
    pub(super) fn of(&self, service: &ServiceId) -> impl Iterator<Item = &Slice> {
        let numbers = self.by_service.get(service).into_iter().flatten();
        numbers.filter_map(|number| self.slices.get(*number))
    }
}
