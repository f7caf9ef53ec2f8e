//! BPF programs on what comes in by a device (tc's classifier `bpf` below `clsact`).
//!
//! An attachment belongs to the device, not to the process that made it.

use super::{Request, Rtnetlink};
use crate::Error;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcMessage, TcOption,
};

/// Where ours stands among a device's filters. IP-in-IP's number is as good as any.
const PRIORITY: u32 = 4;
/// Tells ours from others of the same priority.
const HANDLE: u32 = 0x00ca_11c0;
/// `ETH_P_IP`, in network order as tc has it.
const PROTOCOL: u16 = 0x0800u16.to_be();
/// clsact's own place and name among qdiscs.
const QDISC: &str = "clsact";
const QDISC_HANDLE: TcHandle = TcHandle { major: u16::MAX, minor: 0 };
const INGRESS: TcHandle = TcHandle { major: u16::MAX, minor: TcHandle::MIN_INGRESS };
const EGRESS: TcHandle = TcHandle { major: u16::MAX, minor: TcHandle::MIN_EGRESS };
const KIND: &str = "bpf";

impl Rtnetlink {
    /// Numbers of the devices that can have filters on what comes in.
    pub(crate) fn filtered_devices(&mut self) -> Result<Vec<u32>, Error> {
        let request = Message::GetQueueDiscipline(TcMessage::default());
        let answers = self.dump(request, "qdisc show", "all devices")?;
        let clsact = |answer: Message| match answer {
            Message::NewQueueDiscipline(message) if is_kind(&message, QDISC) => {
                Some(message.header.index.cast_unsigned())
            }
            _ => None,
        };
        Ok(answers.into_iter().filter_map(clsact).collect())
    }

    /// The name of our filter on a device, where it has one.
    pub(crate) fn filter(&mut self, index: u32) -> Result<Option<String>, Error> {
        let filters = self.filters(index, INGRESS)?;
        Ok(filters.iter().find_map(|filter| match filter.header.handle {
            handle if u32::from(handle) == HANDLE => name(filter),
            _ => None,
        }))
    }

    fn filters(&mut self, index: u32, parent: TcHandle) -> Result<Vec<TcMessage>, Error> {
        let mut message = TcMessage::with_index(index.cast_signed());
        message.header.parent = parent;
        let answers = match self.dump(Message::GetTrafficFilter(message), "filter show", KIND) {
            // The device has gone, or has no qdisc for filters.
            Err(error) if error.is_absent() => return Ok(Vec::new()),
            answers => answers?,
        };
        let filter = |answer: Message| match answer {
            Message::NewTrafficFilter(filter) => Some(filter),
            _ => None,
        };
        // A priority without filters is listed too, without a handle.
        let filters = answers.into_iter().filter_map(filter);
        Ok(filters.filter(|filter| filter.header.handle != TcHandle::UNSPEC).collect())
    }

    /// Puts a program on what comes in by a device, in one step in place of ours that is there.
    pub(crate) fn set_filter(&mut self, index: u32, name: &str, program: u32) -> Result<(), Error> {
        let mut qdisc = TcMessage::with_index(index.cast_signed());
        qdisc.header.parent = TcHandle::CLSACT;
        qdisc.header.handle = QDISC_HANDLE;
        qdisc.attributes.push(TcAttribute::Kind(QDISC.to_owned()));
        let add = Request::create(Message::NewQueueDiscipline(qdisc), "qdisc add", QDISC.into());
        match self.request(add) {
            Err(error) if !error.is_present() => return Err(error),
            _ => {}
        }
        let mut filter = ours(index);
        filter.attributes.push(TcAttribute::Options(vec![
            TcOption::Bpf(TcFilterBpfOption::ProgFd(program)),
            TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned())),
            TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
        ]));
        let object = format!("{KIND} {name}");
        self.request(Request::replace(Message::NewTrafficFilter(filter), "filter replace", object))
    }

    /// Takes our filter off a device, and clsact where nobody else has a filter there.
    pub(crate) fn delete_filter(&mut self, index: u32) -> Result<(), Error> {
        let object = format!("{KIND} on device {index}");
        let message = Message::DelTrafficFilter(ours(index));
        self.request(Request::change(message, "filter del", object))?;
        if self.filters(index, INGRESS)?.is_empty() && self.filters(index, EGRESS)?.is_empty() {
            let mut qdisc = TcMessage::with_index(index.cast_signed());
            qdisc.header.parent = TcHandle::CLSACT;
            qdisc.header.handle = QDISC_HANDLE;
            let object = format!("{QDISC} on device {index}");
            let message = Message::DelQueueDiscipline(qdisc);
            self.request(Request::change(message, "qdisc del", object))?;
        }
        Ok(())
    }
}

fn ours(index: u32) -> TcMessage {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.parent = INGRESS;
    message.header.handle = TcHandle::from(HANDLE);
    message.header.info = PRIORITY << 16 | u32::from(PROTOCOL);
    message.attributes.push(TcAttribute::Kind(KIND.to_owned()));
    message
}

fn is_kind(message: &TcMessage, wanted: &str) -> bool {
    message.attributes.iter().any(|attribute| match attribute {
        TcAttribute::Kind(kind) => kind == wanted,
        _ => false,
    })
}

fn name(filter: &TcMessage) -> Option<String> {
    filter.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.iter().find_map(|option| match option {
            TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(name.clone()),
            _ => None,
        }),
        _ => None,
    })
}
