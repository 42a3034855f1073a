//! A kernel that balances nothing and remembers what it was told, for tests. It outlives the daemons that open it.

use super::{Means, Open, Settings};
use crate::balancer::{BalanceReport, Balancer, DeviceHook, DeviceReport, FlowOnRecord};
use crate::datapath::{DatapathError, Installation};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use weir_abi::services::ServiceImage;
use weir_abi::services::live::BalanceCounter;

/// What it was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) image: Option<Vec<u8>>,
    pub(crate) node: (Option<Ipv4Addr>, Option<Ipv6Addr>),
    pub(crate) devices: BTreeSet<u32>,
    pub(crate) pods: BTreeSet<u32>,
    /// Whether it stands at sockets.
    pub(crate) has_sockets: bool,
    /// How often what another version left was taken away.
    pub(crate) upgraded: usize,
    pub(crate) flows: Vec<FlowOnRecord>,
    /// Flows that come once the flows were read.
    pub(crate) coming: Vec<FlowOnRecord>,
    /// Entries that the next sweep removes.
    pub(crate) ended: usize,
    pub(crate) opened: usize,
    pub(crate) installed: usize,
    /// How often slots became unsettled.
    pub(crate) unsettled: usize,
    /// Why it refuses images, if it does.
    pub(crate) refuses: Option<&'static str>,
}

/// The kernel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) memory: Arc<Mutex<Memory>>,
}

impl Model {
    pub(crate) fn look(&self) -> Memory {
        self.memory.lock().unwrap().clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Memory)) {
        change(&mut self.memory.lock().unwrap());
    }

    /// What a daemon needs to balance by it.
    pub(crate) fn means(&self, settings: Settings) -> Means {
        let (opened, cleared) = (self.clone(), self.clone());
        let open: Open = Arc::new(move || {
            opened.change(|memory| memory.opened += 1);
            Ok(Box::new(opened.clone()))
        });
        Means { settings, open, clear: Arc::new(move || cleared.clone().withdraw()) }
    }

    pub(crate) fn checksum(&self) -> Option<u64> {
        let image = self.look().image?;
        Some(ServiceImage::open(&image).unwrap().header().checksum)
    }

    /// Slots that are unsettled.
    pub(crate) fn unsettled(&self) -> usize {
        let Some(bytes) = self.look().image else { return 0 };
        let image = ServiceImage::open(&bytes).unwrap();
        let tables =
            (0..u32::try_from(image.table_count()).unwrap()).filter_map(|number| image.table(number));
        tables.map(|table| table.slots().filter(|slot| slot.1).count()).sum()
    }
}

impl Balancer for Model {
    fn image_in_force(&self) -> Option<u64> {
        self.checksum()
    }

    fn install(&mut self, image: &[u8]) -> Result<Installation, DatapathError> {
        let checksum = ServiceImage::open(image)?.header().checksum;
        let mut memory = self.memory.lock().unwrap();
        if let Some(why) = memory.refuses {
            return Err(DatapathError::Question(why));
        }
        memory.installed += 1;
        memory.image = Some(image.to_vec());
        let (bytes, took) = (image.len(), Duration::ZERO);
        Ok(Installation { checksum, bytes, class: bytes, grown: false, in_force: took, settled: took })
    }

    fn unsettle(&mut self) -> Result<(), DatapathError> {
        self.change(|memory| memory.unsettled += 1);
        Ok(())
    }

    fn set_node(&mut self, v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> Result<(), DatapathError> {
        self.change(|memory| memory.node = (v4, v6));
        Ok(())
    }

    fn set_devices(&mut self, devices: &BTreeSet<u32>) -> Result<Vec<DeviceReport>, DatapathError> {
        self.change(|memory| memory.devices.clone_from(devices));
        let report =
            |&index| DeviceReport { index, stands: true, by: DeviceHook::Tc, no_xdp: None, trouble: None };
        Ok(devices.iter().map(report).collect())
    }

    fn set_pods(&mut self, interfaces: &BTreeSet<u32>) -> Result<(), DatapathError> {
        self.change(|memory| memory.pods.clone_from(interfaces));
        Ok(())
    }

    fn set_sockets(&mut self) -> Result<(), DatapathError> {
        self.change(|memory| memory.has_sockets = true);
        Ok(())
    }

    fn finish_upgrade(&mut self) -> Result<(), DatapathError> {
        self.change(|memory| memory.upgraded += 1);
        Ok(())
    }

    fn withdraw(&mut self) -> Result<(), DatapathError> {
        self.change(|memory| {
            (memory.image, memory.devices, memory.pods, memory.has_sockets) = Default::default();
        });
        Ok(())
    }

    fn flows(&mut self) -> Result<Vec<FlowOnRecord>, DatapathError> {
        let flows = self.look().flows;
        self.change(|memory| {
            let coming = std::mem::take(&mut memory.coming);
            memory.flows.extend(coming);
        });
        Ok(flows)
    }

    fn sweep(&mut self, _: usize) -> Result<BalanceReport, DatapathError> {
        let mut memory = self.memory.lock().unwrap();
        let removed = std::mem::take(&mut memory.ended);
        let flows = memory.flows.len();
        Ok(BalanceReport { translations: 2, translation_capacity: 100, flows, removed })
    }

    fn counters(&self) -> Result<Vec<(BalanceCounter, u64)>, DatapathError> {
        Ok(vec![(BalanceCounter::Delivered, 7)])
    }
}
