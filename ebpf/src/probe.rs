//! The programs in the kernel, from loading to the end.

use crate::{
    Counters, Filters, KernelTypes, List, ProbeError, RawCall, Rule, SeenAt,
    counters::{COUNTERS, PLACES},
    filters::{COMM_BYTES, PATH_BYTES_MAX, SETTINGS_BYTES},
    hooks::Hooks,
    ring::{self, Ring},
    rule::RULE_BYTES,
};
use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap, PerCpuArray,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{BtfTracePoint, Program, ProgramError, ProgramType},
    sys::{BpfHelper, is_helper_supported},
};
use std::{
    cell::Cell,
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

static PROGRAMS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/syscalls.bpf.o"));
/// Programs that see processes, which are called as what they are attached to.
const OF_PROCESSES: [&str; 3] = ["sched_process_fork", "sched_process_exec", "sched_process_exit"];
/// Numbers of calls are below.
pub const NUMBERS: u32 = 512;
const LOADS_MAX: usize = 50;
const MISSED_AGE_MAX: Duration = Duration::from_secs(1);

/// Programs that are loaded and attached; dropped, they are gone.
pub struct Probe {
    ebpf: Ebpf,
    ring: Ring,
    hooks: Hooks,
    own_pid: u32,
    missed: Missed,
}

impl Probe {
    /// Sees the calls of all processes but this one. `possible`: all that may be wanted later, those of `rules` among them.
    /// `ring_bytes`: of the ring between kernel and agent, rounded up to a power of two.
    ///
    /// # Errors
    /// The programs cannot be had.
    pub fn load(
        types: &KernelTypes,
        at: SeenAt,
        possible: &[Rule],
        rules: &[Rule],
        filters: &Filters,
        ring_bytes: u32,
    ) -> Result<Self, ProbeError> {
        let (btf, mut loader) = types.loader()?;
        // Where it cannot be told, it is not looked at: the kernel refuses programs that ask for what it has not.
        let finds_memory = is_helper_supported(ProgramType::RawTracePoint, BpfHelper::BPF_FUNC_find_vma);
        let mut ebpf = loader
            .map_max_entries(ring::NAME, ring::bytes_of(ring_bytes))
            .override_global("FINDS_MEMORY", &u32::from(finds_memory.unwrap_or(false)), true)
            .load(PROGRAMS)?;
        let ring = Ring::of(&mut ebpf)?;
        let hooks = Hooks::load(&mut ebpf, btf, at, possible)?;
        let mut probe = Self { ring, ebpf, hooks, own_pid: std::process::id(), missed: Missed::default() };
        // Whose calls is known before any is seen.
        probe.set_filters(filters)?;
        for name in OF_PROCESSES {
            let program: &mut BtfTracePoint = program(&mut probe.ebpf, name)?;
            load(|| program.load(name, btf))?;
            program.attach()?;
        }
        probe.set_rules(rules)?;
        Ok(probe)
    }

    /// Why calls are seen at the tracepoints of all calls although they need not have been.
    pub fn at_tracepoints_because(&self) -> Option<&str> {
        match &self.hooks {
            Hooks::Tracepoints { because, .. } => because.as_deref(),
            Hooks::Functions(_) => None,
        }
    }

    /// Where they are seen.
    pub fn seen_at_functions(&self) -> bool {
        matches!(self.hooks, Hooks::Functions(_))
    }

    /// From now on these are wanted, and no others.
    pub fn set_rules(&mut self, rules: &[Rule]) -> Result<(), ProbeError> {
        let mut map: Array<_, [u8; RULE_BYTES]> =
            Array::try_from(self.ebpf.map_mut("rules").ok_or_else(|| missing("rules"))?)?;
        for number in 0..NUMBERS {
            let rule = rules.iter().find(|rule| rule.number == number);
            map.set(number, rule.map_or([0; RULE_BYTES], Rule::encode), 0)?;
        }
        self.hooks.attach(&mut self.ebpf, rules)
    }

    /// From now on these are looked at. While it changes calls may be filtered by parts of both.
    pub fn set_filters(&mut self, filters: &Filters) -> Result<(), ProbeError> {
        self.list("pids", &filters.pids, |pid| Ok(*pid))?;
        self.list("trees", &filters.trees, |pid| Ok(*pid))?;
        self.list("uids", &filters.uids, |uid| Ok(*uid))?;
        self.list("cgroups", &filters.cgroup_ids, |id| Ok(*id))?;
        self.list("comms", &filters.comms, |name| padded::<COMM_BYTES>(name, COMM_BYTES - 1, "name"))?;
        self.prefixes(&filters.path_prefixes)?;
        let settings = self.ebpf.map_mut("settings").ok_or_else(|| missing("settings"))?;
        let mut settings: Array<_, [u8; SETTINGS_BYTES]> = Array::try_from(settings)?;
        Ok(settings.set(0, filters.encode(self.own_pid), 0)?)
    }

    fn list<T, K: Pod>(
        &mut self,
        name: &str,
        list: &List<T>,
        key: impl Fn(&T) -> Result<K, ProbeError>,
    ) -> Result<(), ProbeError> {
        let mut map: HashMap<_, K, u8> = HashMap::try_from(self.ebpf.map_mut(name).ok_or_else(|| missing(name))?)?;
        let old: Vec<K> = map.keys().collect::<Result<_, _>>()?;
        for key in old {
            // One that has gone meanwhile is gone.
            let _ = map.remove(&key);
        }
        for item in list.items() {
            map.insert(key(item)?, 1, 0)?;
        }
        Ok(())
    }

    fn prefixes(&mut self, list: &List<String>) -> Result<(), ProbeError> {
        let map = self.ebpf.map_mut("paths").ok_or_else(|| missing("paths"))?;
        let mut map: LpmTrie<_, [u8; PATH_BYTES_MAX], u8> = LpmTrie::try_from(map)?;
        let old: Vec<Key<[u8; PATH_BYTES_MAX]>> = map.keys().collect::<Result<_, _>>()?;
        for key in old {
            let _ = map.remove(&key);
        }
        for path in list.items() {
            let text = padded::<PATH_BYTES_MAX>(path, PATH_BYTES_MAX, "beginning of a path")?;
            let bits = u32::try_from(path.len() * 8).unwrap_or(u32::MAX);
            map.insert(&Key::new(bits, text), 1, 0)?;
        }
        Ok(())
    }

    /// Hands over calls that have come, at most `calls_max`, and waits for the first of them at most `wait`. How many came.
    pub fn poll(
        &mut self,
        wait: Duration,
        calls_max: usize,
        on_call: &mut dyn FnMut(&RawCall<'_>),
    ) -> Result<usize, ProbeError> {
        self.ring.poll(wait, calls_max, &mut |item| {
            if let Some(call) = RawCall::parse(item) {
                on_call(&call);
            }
        })
    }

    /// Takes the programs out of the kernel. What has come until then is still there to be polled, and counted.
    pub fn detach(&mut self) -> Result<(), ProbeError> {
        self.missed.read(&self.ebpf, &self.hooks.beginnings())?;
        self.hooks.unload(&mut self.ebpf)?;
        for name in OF_PROCESSES {
            program::<BtfTracePoint>(&mut self.ebpf, name)?.unload()?;
        }
        Ok(())
    }

    /// Of all processors together.
    pub fn counters(&self) -> Result<Counters, ProbeError> {
        let all: [u64; COUNTERS] = sums(&self.ebpf, PLACES)?;
        Ok(Counters::of(all, self.missed.of_late(&self.ebpf, &self.hooks.beginnings())?))
    }
}

/// What programs have counted in so many places of `counters`, of all processors together.
pub(crate) fn sums<const COUNTS: usize>(ebpf: &Ebpf, places: u32) -> Result<[u64; COUNTS], ProbeError> {
    let map = ebpf.map("counters").ok_or_else(|| missing("counters"))?;
    let map: PerCpuArray<_, [u64; COUNTS]> = PerCpuArray::try_from(map)?;
    let mut all = [0; COUNTS];
    for place in 0..places {
        for of_processor in map.get(&place, 0)?.iter() {
            all.iter_mut().zip(of_processor).for_each(|(sum, count)| *sum += count);
        }
    }
    Ok(all)
}

/// How often the kernel did not run programs, as it was at most [`MISSED_AGE_MAX`] ago: to ask takes several calls for each program.
#[derive(Default)]
pub(crate) struct Missed(Cell<(Option<Instant>, u64)>);

impl Missed {
    /// As it is now. Of programs that are taken out it is what it was before.
    pub(crate) fn read(&self, ebpf: &Ebpf, names: &[&str]) -> Result<u64, ProbeError> {
        let mut all = 0;
        for name in names {
            let Some(count) = missed(ebpf, name)? else { return Ok(self.0.get().1) };
            all += count;
        }
        self.0.set((Some(Instant::now()), all));
        Ok(all)
    }

    pub(crate) fn of_late(&self, ebpf: &Ebpf, names: &[&str]) -> Result<u64, ProbeError> {
        match self.0.get() {
            (Some(at), all) if at.elapsed() < MISSED_AGE_MAX => Ok(all),
            _ => self.read(ebpf, names),
        }
    }
}

/// How often the kernel did not run the program at the beginning of a call; `None`: it is taken out.
fn missed(ebpf: &Ebpf, name: &str) -> Result<Option<u64>, ProbeError> {
    let program = match ebpf.program(name) {
        Some(Program::BtfTracePoint(program)) => program.fd(),
        Some(Program::FEntry(program)) => program.fd(),
        _ => return Err(missing(name)),
    };
    let Ok(program) = program else { return Ok(None) };
    let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path).map_err(ProbeError::Wait)?;
    let count = text.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok());
    Ok(Some(count.unwrap_or_default()))
}

/// A program of that name and kind.
pub(crate) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, ProbeError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    Ok(ebpf.program_mut(name).ok_or_else(|| missing(name))?.try_into()?)
}

/// Loads a program; again where a signal, whoever it was for, came while the kernel looked at it.
pub(crate) fn load(mut once: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    let is_interrupted = |error: &ProgramError| match error {
        ProgramError::LoadError { io_error, .. } => io_error.kind() == std::io::ErrorKind::WouldBlock,
        _ => false,
    };
    for _ in 1..LOADS_MAX {
        match once() {
            Err(error) if is_interrupted(&error) => {}
            ended => return ended,
        }
    }
    once()
}

pub(crate) fn missing(name: &str) -> ProbeError {
    ProbeError::Refused(format!("`{name}` is not among the programs and maps; this is a fault of the agent"))
}

fn padded<const BYTES: usize>(text: &str, most: usize, what: &str) -> Result<[u8; BYTES], ProbeError> {
    if text.len() > most {
        return Err(ProbeError::Filter(format!("`{text}` is longer than {most} bytes, the most of a {what}")));
    }
    let mut padded = [0; BYTES];
    padded[..text.len()].copy_from_slice(text.as_bytes());
    Ok(padded)
}
