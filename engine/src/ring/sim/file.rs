//! An open file of the simulated disk.
//!
//! Each value is one open file description; what it does is done by the disk's state, under the
//! disk's lock. Dropping the last `Arc` closes it, and so gives up its lock.

use std::io;
use std::time::SystemTime;

use super::SimDisk;
use super::inode::Change;
use super::state::{State, Sys};
use crate::ring::file::{Attributes, File, Status};
use crate::ring::op::OpKind;

/// The open file.
#[derive(Debug)]
pub(super) struct SimFile {
    disk: SimDisk,
    descriptor: i32,
}

impl SimFile {
    pub(super) fn new(disk: SimDisk, descriptor: i32) -> Self {
        Self { disk, descriptor }
    }

    fn call<T>(&self, call: impl FnOnce(&mut State, i32) -> Sys<T>) -> io::Result<T> {
        self.disk.call(|state| call(state, self.descriptor))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state().close(self.descriptor);
    }
}

impl File for SimFile {
    fn descriptor(&self) -> i32 {
        self.descriptor
    }

    fn status(&self) -> io::Result<Status> {
        self.call(|state, descriptor| {
            let inode = state.description(descriptor).inode;
            Ok(state.status(inode))
        })
    }

    fn born(&self) -> io::Result<Option<SystemTime>> {
        self.call(|state, descriptor| Ok(Some(state.inode_of(descriptor).metadata.born)))
    }

    fn is_direct(&self) -> bool {
        self.disk.state().description(self.descriptor).direct
    }

    fn leave_direct(&self) -> io::Result<bool> {
        self.call(|state, descriptor| Ok(std::mem::take(&mut state.description(descriptor).direct)))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call(|state, descriptor| {
            let issued = state.issue(descriptor, OpKind::Read, offset, bytes);
            state.finish_read(issued.waited_for(), bytes)
        })
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.call(|state, descriptor| {
            state.inode_of(descriptor).drop_cache();
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.call(|state, descriptor| {
            let issued = state.issue(descriptor, OpKind::Write, offset, bytes);
            state.finish_write(issued.waited_for())
        })
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        self.call(|state, descriptor| Ok(state.inode_of(descriptor).content().next_data(offset)))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let change = Change::Allocate { offset, len };
        self.call(|state, descriptor| state.change(descriptor, "allocate", change))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.call(|state, _| match state.options.is_quota {
            true => Ok(u64::MAX),
            false => Ok(state.free_bytes()),
        })
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        let change = Change::Punch { offset, len };
        self.call(|state, descriptor| state.change(descriptor, "punch_hole", change))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let change = Change::SetLen(len);
        self.call(|state, descriptor| state.change(descriptor, "set_len", change))
    }

    fn sync_all(&self) -> io::Result<()> {
        self.call(|state, descriptor| state.sync_file(descriptor, true))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call(|state, descriptor| state.sync_file(descriptor, false))
    }

    fn set_attributes(&self, attributes: &Attributes) -> io::Result<()> {
        self.call(|state, descriptor| {
            let inode = state.inode_of(descriptor);
            inode.metadata.mode = attributes.mode;
            if let Some(owner) = attributes.owner {
                (inode.metadata.uid, inode.metadata.gid) = owner;
            }
            if let Some(modified) = attributes.modified {
                inode.metadata.modified = modified;
            }
            let call = format!("set_attributes {}", inode.name.to_string_lossy());
            state.traced(call, Ok(()))
        })
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.call(|state, descriptor| Ok(state.try_lock(descriptor)))
    }
}
