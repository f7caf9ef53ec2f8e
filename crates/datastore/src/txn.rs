//! Transactions: which branch is taken, whether it may be carried out, and carrying it out.
//!
//! As in etcd, every condition, also of nested transactions, is decided on the state before the
//! first change, and everything that can be refused is refused before it.

use crate::interval::Interval;
use crate::log::{Position, View};
use crate::mvcc::{Changes, revision_only};
use crate::refused::{Failure, Refused};
use etcd::request_op::Request;
use etcd::response_op::Response;
use etcd::{
    Compare, CompareResult, CompareTarget, KeyValue, ResponseHeader, ResponseOp, TargetUnion,
    TxnRequest, TxnResponse,
};
use redb::ReadableTable;
use std::cmp::Ordering;

/// The branch a transaction takes, and those its nested ones take, in order.
struct Decision {
    succeeded: bool,
    nested: Vec<Decision>,
}

/// What a pass over a transaction checks.
#[derive(Clone, Copy)]
enum Check {
    Puts,
    Ranges,
}

impl<L, C> View<L, C>
where
    L: ReadableTable<Position, &'static [u8]>,
    C: ReadableTable<&'static [u8], Position>,
{
    fn decide(&self, request: &TxnRequest) -> Result<Decision, Failure> {
        let mut succeeded = true;
        for compare in &request.compare {
            succeeded = succeeded && self.holds(compare)?;
        }
        let branch = if succeeded { &request.success } else { &request.failure };
        let mut nested = Vec::new();
        for op in branch {
            if let Some(Request::RequestTxn(inner)) = &op.request {
                nested.push(self.decide(inner)?);
            }
        }
        Ok(Decision { succeeded, nested })
    }

    /// The condition holds for every key it names; with no such key, for one that is all zero.
    fn holds(&self, compare: &Compare) -> Result<bool, Failure> {
        let interval = Interval::new(&compare.key, &compare.range_end);
        let positions = self.positions(&interval, 0)?;
        if positions.is_empty() {
            let value = compare.target() == CompareTarget::Value;
            return Ok(!value && matches(compare, &KeyValue::default()));
        }
        for position in positions {
            if !matches(compare, &self.expect(position)?.key_value) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn matches(compare: &Compare, key_value: &KeyValue) -> bool {
    use TargetUnion::{CreateRevision, Lease, ModRevision, Value, Version};
    let given = &compare.target_union;
    let ordering: Ordering = match (compare.target(), given) {
        (CompareTarget::Version, Some(Version(given))) => key_value.version.cmp(given),
        (CompareTarget::Version, _) => key_value.version.cmp(&0),
        (CompareTarget::Create, Some(CreateRevision(given))) => {
            key_value.create_revision.cmp(given)
        }
        (CompareTarget::Create, _) => key_value.create_revision.cmp(&0),
        (CompareTarget::Mod, Some(ModRevision(given))) => key_value.mod_revision.cmp(given),
        (CompareTarget::Mod, _) => key_value.mod_revision.cmp(&0),
        (CompareTarget::Value, Some(Value(given))) => key_value.value.cmp(given),
        (CompareTarget::Value, _) => key_value.value.as_slice().cmp(&[]),
        (CompareTarget::Lease, Some(Lease(given))) => key_value.lease.cmp(given),
        (CompareTarget::Lease, _) => key_value.lease.cmp(&0),
    };
    match compare.result() {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::NotEqual => ordering.is_ne(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
    }
}

impl Changes<'_> {
    /// Decides, checks and carries out a transaction, in one revision.
    pub(crate) fn txn(&mut self, request: TxnRequest) -> Result<TxnResponse, Failure> {
        let decision = self.view.decide(&request)?;
        // etcd's order: a missing lease anywhere is told before a missing revision anywhere.
        self.check_txn(&request, &decision, Check::Puts)?;
        self.check_txn(&request, &decision, Check::Ranges)?;
        let mut response = self.apply_txn(request, decision)?;
        response.header = revision_only(self.revision());
        Ok(response)
    }

    fn check_txn(
        &self,
        request: &TxnRequest,
        decision: &Decision,
        check: Check,
    ) -> Result<(), Failure> {
        let branch = if decision.succeeded { &request.success } else { &request.failure };
        let mut nested = decision.nested.iter();
        for op in branch {
            match (&op.request, check) {
                (Some(Request::RequestRange(range)), Check::Ranges) => {
                    self.view.check_revision(range.revision)?;
                }
                (Some(Request::RequestPut(put)), Check::Puts) => self.check_put(put)?,
                (Some(Request::RequestTxn(inner)), check) => {
                    if let Some(decision) = nested.next() {
                        self.check_txn(inner, decision, check)?;
                    }
                }
                (None, _) => return Err(Refused::KeyNotFound.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn apply_txn(
        &mut self,
        request: TxnRequest,
        decision: Decision,
    ) -> Result<TxnResponse, Failure> {
        let succeeded = decision.succeeded;
        let branch = if succeeded { request.success } else { request.failure };
        let mut nested = decision.nested.into_iter();
        let mut responses = Vec::with_capacity(branch.len());
        for op in branch {
            let response = match op.request {
                Some(Request::RequestRange(range)) => {
                    Some(Response::ResponseRange(self.view.range(&range)?))
                }
                Some(Request::RequestPut(put)) => Some(Response::ResponsePut(self.put(put)?)),
                Some(Request::RequestDeleteRange(delete)) => {
                    Some(Response::ResponseDeleteRange(self.delete(&delete)?))
                }
                Some(Request::RequestTxn(inner)) => match nested.next() {
                    Some(decision) => Some(Response::ResponseTxn(self.apply_txn(inner, decision)?)),
                    None => None,
                },
                None => None,
            };
            responses.push(ResponseOp { response });
        }
        Ok(TxnResponse { header: Some(ResponseHeader::default()), succeeded, responses })
    }
}
