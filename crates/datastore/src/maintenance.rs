//! Services Maintenance, Cluster and Auth: one server, no users.

use crate::store::{RAFT_TERM, Store};
use etcd::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, AuthenticateRequest, AuthenticateResponse,
    DefragmentRequest, DefragmentResponse, Member, MemberListRequest, MemberListResponse,
    StatusRequest, StatusResponse,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The version of etcd whose API and behaviour this server has.
const API_VERSION: &str = "3.4.23";
/// The name of the one member.
const MEMBER_NAME: &str = "calico-datastore";

/// The services.
#[derive(Clone)]
pub(crate) struct MaintenanceService {
    pub(crate) store: Arc<Store>,
    /// Where clients reach the server.
    pub(crate) endpoints: Arc<[String]>,
}

#[tonic::async_trait]
impl etcd::server::Maintenance for MaintenanceService {
    /// Lists the alarm that stands while the file system is full. It ends by itself when writing
    /// works again, so that there is nothing to disarm.
    async fn alarm(
        &self,
        _request: Request<AlarmRequest>,
    ) -> Result<Response<AlarmResponse>, Status> {
        let full = self.store.condition().trouble.is_some_and(|trouble| trouble.full);
        let alarm = AlarmMember {
            member_id: self.store.identity.member_id,
            alarm: AlarmType::Nospace.into(),
        };
        Ok(Response::new(AlarmResponse {
            header: self.store.header(self.store.revision()),
            alarms: full.then_some(alarm).into_iter().collect(),
        }))
    }

    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let revision = self.store.revision();
        let condition = self.store.condition();
        let bytes = i64::try_from(condition.bytes).unwrap_or(i64::MAX);
        Ok(Response::new(StatusResponse {
            header: self.store.header(revision),
            version: API_VERSION.into(),
            db_size: bytes,
            db_size_in_use: bytes,
            leader: self.store.identity.member_id,
            raft_index: revision,
            raft_term: RAFT_TERM,
            raft_applied_index: revision,
            errors: condition.trouble.into_iter().map(|trouble| trouble.to_string()).collect(),
            is_learner: false,
        }))
    }

    async fn defragment(
        &self,
        _request: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        self.store.defragment().await?;
        Ok(Response::new(DefragmentResponse { header: self.store.header(self.store.revision()) }))
    }
}

#[tonic::async_trait]
impl etcd::server::Cluster for MaintenanceService {
    async fn member_list(
        &self,
        _request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        let member = Member {
            id: self.store.identity.member_id,
            name: MEMBER_NAME.into(),
            peer_urls: vec![],
            client_urls: self.endpoints.to_vec(),
            is_learner: false,
        };
        Ok(Response::new(MemberListResponse {
            header: self.store.header(self.store.revision()),
            members: vec![member],
        }))
    }
}

#[tonic::async_trait]
impl etcd::server::Auth for MaintenanceService {
    async fn authenticate(
        &self,
        _request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        Err(Status::failed_precondition("etcdserver: authentication is not enabled"))
    }
}
