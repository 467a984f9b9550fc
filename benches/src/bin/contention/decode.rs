//! What an instruction does to memory: decoded once for each place in the code.

use iced_x86::{
    Code, Decoder, DecoderOptions, InstructionInfoFactory, Mnemonic, OpAccess, Register, UsedMemory,
};

use crate::directory::Access;

/// Longest instruction, in bytes.
pub(crate) const MAX_LENGTH: usize = 15;

/// An instruction, as far as it matters to other CPUs.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    /// Bytes.
    pub(crate) length: u64,
    /// It is one step for all CPUs, and waits until all stores before it are done.
    pub(crate) is_locked: bool,
    pub(crate) kind: Kind,
    operands: Vec<Operand>,
}

/// Instructions that are more than accesses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Ordinary,
    /// A call of the system.
    Syscall,
    /// A wait in a loop that spins.
    Pause,
    /// Four bytes that become what is in the register, if they are what is in `eax`.
    CompareExchange(Register),
    /// Four bytes that become what is in the register.
    Exchange(Register),
}

#[derive(Clone, Copy, Debug)]
struct Operand {
    memory: UsedMemory,
    access: Access,
    is_waited_for: bool,
}

/// An access to memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Touch {
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) access: Access,
    /// What is there is needed to go on; a plain store is not waited for.
    pub(crate) is_waited_for: bool,
}

impl Decoded {
    /// Decodes the instruction that stands at `address`, in the first of `bytes`.
    pub(crate) fn new(bytes: &[u8], address: u64) -> Decoded {
        let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
        let mut factory = InstructionInfoFactory::new();
        let used = factory.info(&instruction).used_memory();
        let operands = used.iter().filter_map(|&memory| {
            let access = access_of(memory.access())?;
            Some(Operand {
                memory,
                access,
                is_waited_for: !matches!(memory.access(), OpAccess::Write | OpAccess::CondWrite),
            })
        });
        let operands: Vec<Operand> = operands.collect();
        let kind = match instruction.code() {
            Code::Syscall => Kind::Syscall,
            Code::Pause => Kind::Pause,
            Code::Cmpxchg_rm32_r32 if !operands.is_empty() => {
                Kind::CompareExchange(instruction.op1_register())
            }
            Code::Xchg_rm32_r32 if !operands.is_empty() => {
                Kind::Exchange(instruction.op1_register())
            }
            _ => Kind::Ordinary,
        };
        let is_exchange = instruction.mnemonic() == Mnemonic::Xchg && !operands.is_empty();
        let is_fence = instruction.mnemonic() == Mnemonic::Mfence;
        Decoded {
            length: instruction.len() as u64,
            is_locked: instruction.has_lock_prefix() || is_exchange || is_fence,
            kind,
            operands,
        }
    }

    /// What it touches, with the registers as they are before it. What it reads comes first.
    pub(crate) fn touches(
        &self,
        register: impl Fn(Register) -> Option<u64>,
    ) -> impl Iterator<Item = Touch> {
        self.operands.iter().filter_map(move |operand| {
            let value = |name: Register, _, _| register(name);
            Some(Touch {
                address: operand.memory.virtual_address(0, value)?,
                size: operand.memory.memory_size().size() as u64,
                access: operand.access,
                is_waited_for: operand.is_waited_for,
            })
        })
    }
}

/// What counts of an access: who may write asks for the line as if he did.
fn access_of(access: OpAccess) -> Option<Access> {
    match access {
        OpAccess::Read | OpAccess::CondRead => Some(Access::Read),
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => {
            Some(Access::Write)
        }
        OpAccess::None | OpAccess::NoMemAccess => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x1000;

    /// Each register holds its number times 256; `fs` begins at a million.
    fn registers(register: Register) -> Option<u64> {
        match register {
            Register::FS => Some(1_000_000),
            _ if register.is_segment_register() => Some(0),
            _ => Some(register.number() as u64 * 256),
        }
    }

    #[track_caller]
    fn assert_touches(bytes: &[u8], expected: &[(u64, u64, Access)]) -> Decoded {
        let decoded = Decoded::new(bytes, BASE);
        let touches: Vec<_> = { decoded.touches(registers) }
            .map(|touch| (touch.address, touch.size, touch.access))
            .collect();
        assert_eq!(touches, expected);
        assert_eq!(decoded.length, bytes.len() as u64);
        decoded
    }

    #[test]
    fn loads_and_stores_are_where_the_registers_say() {
        // mov rax, [rcx+8]
        assert_touches(&[0x48, 0x8b, 0x41, 0x08], &[(256 + 8, 8, Access::Read)]);
        // mov byte ptr [rdx+rsi*4], 1
        let at = 2 * 256 + 6 * 256 * 4;
        assert_touches(&[0xc6, 0x04, 0xb2, 0x01], &[(at, 1, Access::Write)]);
        // mov eax, [rip+16]: from the end of the instruction
        assert_touches(
            &[0x8b, 0x05, 0x10, 0, 0, 0],
            &[(BASE + 6 + 16, 4, Access::Read)],
        );
        // mov rax, fs:[8]
        assert_touches(
            &[0x64, 0x48, 0x8b, 0x04, 0x25, 8, 0, 0, 0],
            &[(1_000_008, 8, Access::Read)],
        );
    }

    #[test]
    fn only_plain_stores_are_not_waited_for() {
        let waits = |bytes: &[u8]| {
            let decoded = Decoded::new(bytes, BASE);
            decoded.touches(registers).any(|touch| touch.is_waited_for)
        };
        assert!(!waits(&[0x89, 0x01]), "mov [rcx], eax");
        assert!(waits(&[0x8b, 0x01]), "mov eax, [rcx]");
        assert!(waits(&[0xff, 0x01]), "inc dword ptr [rcx]");
    }

    #[test]
    fn the_stack_is_memory() {
        // push rax: below where rsp is
        assert_touches(&[0x50], &[(4 * 256 - 8, 8, Access::Write)]);
        // pop rax
        assert_touches(&[0x58], &[(4 * 256, 8, Access::Read)]);
    }

    #[test]
    fn addresses_that_are_only_computed_touch_nothing() {
        // lea rax, [rcx+8]
        assert_touches(&[0x48, 0x8d, 0x41, 0x08], &[]);
        // prefetcht0 [rcx]
        assert_touches(&[0x0f, 0x18, 0x09], &[]);
    }

    #[test]
    fn a_futex_lock_is_taken_and_given_back_by_known_instructions() {
        // lock cmpxchg [rdi], ecx
        let taken = assert_touches(&[0xf0, 0x0f, 0xb1, 0x0f], &[(7 * 256, 4, Access::Write)]);
        assert!(taken.is_locked);
        assert_eq!(taken.kind, Kind::CompareExchange(Register::ECX));
        // xchg [rdi], eax: locked without a prefix
        let given_back = assert_touches(&[0x87, 0x07], &[(7 * 256, 4, Access::Write)]);
        assert!(given_back.is_locked);
        assert_eq!(given_back.kind, Kind::Exchange(Register::EAX));
        // xchg ecx, eax touches nothing
        let plain = assert_touches(&[0x87, 0xc1], &[]);
        assert!(!plain.is_locked);
        assert_eq!(plain.kind, Kind::Ordinary);
    }

    #[test]
    fn calls_of_the_system_and_pauses_are_known() {
        assert_eq!(Decoded::new(&[0x0f, 0x05], BASE).kind, Kind::Syscall);
        assert_eq!(Decoded::new(&[0xf3, 0x90], BASE).kind, Kind::Pause);
    }
}
