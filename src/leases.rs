//! Leases: real files, with the bytes of a tenant's objects, for programs that
//! want a path. They lie in the cache directory, within a bound of bytes.
//!
//! A file that was leased stays at its path, complete, until the lease has
//! expired, and after that as long as nobody needs the room. However many ask
//! for a file at once, it is fetched once. What a lease is given for has been
//! the key's after the last write to it that this process has answered.

mod folder;
mod index;
mod search;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::folder::{Folder, remove_if_there};
use self::index::{FileId, Index, NoRoom, Owner, Version};
use self::search::{Flight, Leader, Outcome, Room, Wish};
use crate::cache::Tenancy;
use crate::digest::Digest;
use crate::key::FileKey;
use crate::metrics::{CacheMetrics, LeaseLabels, Metrics};
use crate::storage::scoped::{TenantStore, TenantStoreError};
use crate::tenant::Secrets;

/// So many files may be fetched at once.
const MAX_UNDER_WAY: usize = 256;
/// So many of them may be one tenant's.
const MAX_OF_TENANT: usize = MAX_UNDER_WAY / 2;
/// A file that was found may be gone before it is leased, when leases are
/// short and room is short, too. It is looked for again so often.
const TRIES: usize = 3;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The file's key.
    pub key: FileKey,
    /// The SHA-256 that it must have, if the caller knows it.
    pub digest: Option<Digest>,
    /// For how long.
    pub time: Duration,
}

/// A file that stays where it is for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Where it is: absolute.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// Until when it stays at least.
    pub expires_at: SystemTime,
}

/// Why there is no lease.
#[derive(Clone, Debug, Error)]
pub enum LeaseError {
    /// There is no directory to put files into.
    #[error("there is no cache directory for leased files")]
    Off,
    /// All room is taken by other leases.
    #[error("all the room for leased files is leased")]
    NoRoom,
    /// The file is larger than all the room.
    #[error("the file is larger than all the room for leased files")]
    TooLarge,
    /// The file does not have the digest that the caller expects.
    #[error("the file does not have the expected SHA-256")]
    Mismatch,
    /// Too many others are being fetched.
    #[error("too many files are being fetched")]
    Busy,
    /// The directory cannot be written to; the text is for the log.
    #[error("the cache directory cannot be used: {0}")]
    Disk(String),
    /// The store's answer.
    #[error(transparent)]
    Store(#[from] TenantStoreError),
}

impl From<io::Error> for LeaseError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoRoom,
            _ => Self::Disk(error.to_string()),
        }
    }
}

/// How much room there is, the rounding to whole blocks included.
#[derive(Clone, Copy, Debug)]
pub struct LeaseLimits {
    /// For all files, in bytes.
    pub all_bytes: u64,
    /// For those of one tenant, in bytes.
    pub tenant_bytes: u64,
}

/// All tenants' leases.
#[derive(Debug)]
pub struct Leases {
    folder: Folder,
    limits: LeaseLimits,
    secrets: Secrets,
    state: Mutex<State>,
    /// Told when more is not current any more.
    withdrawn: watch::Sender<()>,
    tasks: TaskTracker,
    metrics: Metrics,
    usage: CacheMetrics,
}

#[derive(Debug, Default)]
struct State {
    index: Index,
    /// Room for what is being fetched, in bytes by tenant.
    reserved: HashMap<u128, u64>,
    under_way: HashMap<Wish, Arc<Flight>>,
}

impl Leases {
    /// Takes a directory inside `directory`. Blocks, and needs a runtime for
    /// what is to be removed later.
    ///
    /// # Errors
    /// When it cannot be used, or another process has it
    /// ([`io::ErrorKind::WouldBlock`]).
    pub fn open(
        directory: &Path,
        limits: LeaseLimits,
        secrets: Secrets,
        tasks: TaskTracker,
        metrics: &Metrics,
    ) -> io::Result<Arc<Self>> {
        let (folder, found) = Folder::open(directory)?;
        let (withdrawn, told) = watch::channel(());
        let leases = Arc::new(Self {
            folder,
            limits,
            secrets,
            state: Mutex::default(),
            withdrawn,
            tasks,
            metrics: metrics.clone(),
            usage: metrics.cache("leases"),
        });
        for (owner, entry) in found {
            leases.lock().index.insert(owner, entry);
        }
        leases.sweep();
        tokio::spawn(Self::keep_swept(Arc::downgrade(&leases), told));
        Ok(leases)
    }

    /// A lease of a file. What is fetched for it is fetched to its end also
    /// when the caller is dropped.
    ///
    /// # Errors
    /// See [`LeaseError`].
    pub async fn lease(
        self: &Arc<Self>,
        tenant: &Tenancy,
        store: &TenantStore,
        wanted: &Wanted,
    ) -> Result<Lease, LeaseError> {
        let outcome = self.find(tenant, store, wanted).await;
        if outcome.is_err() {
            self.count("failed");
        }
        outcome
    }

    async fn find(
        self: &Arc<Self>,
        tenant: &Tenancy,
        store: &TenantStore,
        wanted: &Wanted,
    ) -> Result<Lease, LeaseError> {
        let wish = Wish {
            owner: self.owner(tenant, &wanted.key),
            digest: wanted.digest,
        };
        for _ in 0..TRIES {
            if let Some(digest) = wanted.digest {
                let version = self.lock().index.current(wish.owner, Some(digest), "");
                if let Some(version) = version
                    && let Some(lease) = self.renew(wish.owner, version, wanted).await?
                {
                    self.count("kept");
                    return Ok(lease);
                }
            }
            let mut waiting = self.join(wish, store, wanted)?;
            let version = match waiting.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(outcome)) => outcome.clone()?,
                _ => return Err(LeaseError::Disk("the search broke off".into())),
            };
            if let Some(lease) = self.renew(wish.owner, version, wanted).await? {
                return Ok(lease);
            }
        }
        Err(LeaseError::NoRoom)
    }

    /// Nothing that this process keeps of the key is leased anew without
    /// asking the store: it has been written to, or removed. Leases that have
    /// been given stay.
    pub async fn forget(self: &Arc<Self>, tenant: &Tenancy, key: &FileKey) {
        let owner = self.owner(tenant, key);
        {
            let mut state = self.lock();
            state.under_way.retain(|wish, _| wish.owner != owner);
            if !state.index.has(owner) {
                return;
            }
        }
        self.withdraw(vec![owner]).await;
    }

    /// The same for all keys of the tenant.
    pub async fn forget_tenant(self: &Arc<Self>, tenant: &Tenancy) {
        let tenant = self.tenant(tenant);
        let owners = {
            let mut state = self.lock();
            state
                .under_way
                .retain(|wish, _| wish.owner.tenant != tenant);
            state.index.owners(tenant)
        };
        if !owners.is_empty() {
            self.withdraw(owners).await;
        }
    }

    /// The keys' files are not current any more, and go when they are not
    /// leased any more.
    async fn withdraw(self: &Arc<Self>, owners: Vec<Owner>) {
        let withdrawn = self.off_the_threads(move |leases| {
            let mut state = leases.lock();
            for owner in owners {
                for file in state.index.withdraw(owner) {
                    // One that somebody has removed needs no mark.
                    let _ = leases.folder.mark(file, false);
                }
            }
            drop(state);
            leases.sweep();
            leases.withdrawn.send_replace(());
            Ok(())
        });
        drop(withdrawn.await);
    }

    /// Sweeps each time that a lease of what is not current expires, as long
    /// as there are leases at all. One that is prolonged is waited for again.
    async fn keep_swept(leases: Weak<Self>, mut told: watch::Receiver<()>) {
        while let Some(first) = leases.upgrade().map(|it| it.lock().index.first_to_sweep()) {
            let left = first.map_or(Duration::MAX, |first| {
                first.duration_since(SystemTime::now()).unwrap_or_default()
            });
            let expired = tokio::time::timeout(left, told.changed()).await.is_err();
            if expired && let Some(leases) = leases.upgrade() {
                let swept = leases.off_the_threads(|leases| {
                    leases.sweep();
                    Ok(())
                });
                drop(swept.await);
            }
        }
    }

    fn tenant(&self, tenant: &Tenancy) -> u128 {
        self.secrets
            .unguessable("kura lease v1", &tenant.to_string())
    }

    fn owner(&self, tenant: &Tenancy, key: &FileKey) -> Owner {
        Owner {
            tenant: self.tenant(tenant),
            key: Version::of(Digest::of(key.as_str().as_bytes())).0,
        }
    }

    /// Joins the search for what is wished, or begins it.
    fn join(
        self: &Arc<Self>,
        wish: Wish,
        store: &TenantStore,
        wanted: &Wanted,
    ) -> Result<watch::Receiver<Option<Outcome>>, LeaseError> {
        let mut state = self.lock();
        if let Some(flight) = state.under_way.get(&wish) {
            self.count("joined");
            return Ok(flight.0.subscribe());
        }
        let of_tenant = state.under_way.keys();
        let of_tenant = of_tenant.filter(|other| other.owner.tenant == wish.owner.tenant);
        if state.under_way.len() >= MAX_UNDER_WAY || of_tenant.count() >= MAX_OF_TENANT {
            return Err(LeaseError::Busy);
        }
        let (sender, waiting) = watch::channel(None);
        let flight = Arc::new(Flight(sender));
        state.under_way.insert(wish, Arc::clone(&flight));
        drop(state);
        let leader = Leader {
            leases: Arc::clone(self),
            wish,
            flight,
        };
        let (store, wanted) = (store.clone(), wanted.clone());
        let search = async move {
            let outcome = leader.search(&store, &wanted).await;
            leader.flight.0.send_replace(Some(outcome));
        };
        self.tasks.spawn(search.in_current_span());
        Ok(waiting)
    }

    /// Leases what is there; `None` when it is not there any more.
    async fn renew(
        self: &Arc<Self>,
        owner: Owner,
        version: Version,
        wanted: &Wanted,
    ) -> Result<Option<Lease>, LeaseError> {
        let (id, wanted) = (FileId { owner, version }, wanted.clone());
        let renewed = self.off_the_threads(move |leases| {
            let mut state = leases.lock();
            let Some(size_bytes) = state.index.get(id).map(|entry| entry.size_bytes) else {
                return Ok(None);
            };
            let name = wanted.key.name();
            if !leases.folder.has(id, name, size_bytes) {
                state.index.remove(id);
                return Ok(None);
            }
            let expires_at = state.index.extend(id, SystemTime::now() + wanted.time);
            leases.folder.extend(id, expires_at)?;
            Ok(Some(Lease {
                path: leases.folder.path(id, name),
                size_bytes,
                expires_at,
            }))
        });
        renewed.await
    }

    /// Takes room for a tenant's file of this size from what is not leased.
    async fn room(self: &Arc<Self>, tenant: u128, size_bytes: u64) -> Result<Room, LeaseError> {
        let bytes = Index::space(size_bytes);
        if bytes > self.limits.tenant_bytes {
            return Err(LeaseError::TooLarge);
        }
        let holder = Arc::clone(self);
        let room = self.off_the_threads(move |leases| {
            let (mut state, mut gone) = (leases.lock(), Vec::new());
            let made = state.make_room(tenant, bytes, leases.limits, &mut gone);
            leases.usage.evictions.inc_by(gone.len() as u64);
            leases.remove(state, &gone);
            made.map_err(|_| LeaseError::NoRoom)?;
            Ok(Room {
                leases: holder,
                tenant,
                bytes,
            })
        });
        room.await
    }

    /// Removes what is neither current nor leased. Blocks.
    fn sweep(&self) {
        let mut state = self.lock();
        let gone = state.index.sweep(SystemTime::now());
        self.remove(state, &gone);
    }

    /// Removes files that are not in the index any more. They are out of
    /// their places before anything else can be put there. Blocks.
    fn remove(&self, state: MutexGuard<'_, State>, gone: &[FileId]) {
        let taken: Vec<_> = gone.iter().filter_map(|id| self.folder.take(*id)).collect();
        drop(state);
        for path in taken {
            if let Err(error) = remove_if_there(&path) {
                tracing::warn!(%error, "a file that is not leased any more could not be removed");
            }
        }
        self.report();
    }

    async fn off_the_threads<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, LeaseError> + Send + 'static,
    ) -> Result<T, LeaseError> {
        let leases = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&leases)).await;
        done.unwrap_or_else(|error| Err(LeaseError::Disk(error.to_string())))
    }

    fn report(&self) {
        let state = self.lock();
        self.usage.bytes.set(state.index.bytes());
        self.usage.entries.set(state.index.count());
    }

    fn count(&self, from: &'static str) {
        let labels = LeaseLabels { from };
        self.metrics.leases.get_or_create(&labels).inc();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent whenever the lock is free.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reserves room for a tenant. What has to go for that is out of the index
    /// and in `gone`, also when it is not enough.
    fn make_room(
        &mut self,
        tenant: u128,
        bytes: u64,
        limits: LeaseLimits,
        gone: &mut Vec<FileId>,
    ) -> Result<(), NoRoom> {
        let now = SystemTime::now();
        let all = self.reserved.values().sum::<u64>();
        let own = self.reserved.get(&tenant).copied().unwrap_or_default();
        for (whose, reserved, max_bytes) in [
            (Some(tenant), own, limits.tenant_bytes),
            (None, all, limits.all_bytes),
        ] {
            let wanted = bytes.saturating_add(reserved);
            gone.extend(self.index.make_room(whose, wanted, max_bytes, now)?);
        }
        *self.reserved.entry(tenant).or_default() += bytes;
        Ok(())
    }

    fn give_back(&mut self, tenant: u128, bytes: u64) {
        if let Some(reserved) = self.reserved.get_mut(&tenant) {
            *reserved -= bytes;
            if *reserved == 0 {
                self.reserved.remove(&tenant);
            }
        }
    }

    fn is_under_way(&self, wish: &Wish, flight: &Arc<Flight>) -> bool {
        let found = self.under_way.get(wish);
        found.is_some_and(|found| Arc::ptr_eq(found, flight))
    }
}
