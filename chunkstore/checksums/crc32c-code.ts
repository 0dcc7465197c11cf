/**
 * The inner loop of CRC-32C as a WebAssembly module, put together here: JavaScript takes twice as
 * long. A page is two halves, computed side by side (they do not wait for one another) by
 * "slicing-by-8": eight bytes a step, a table lookup for each.
 *
 *   sums(pages, data, out): the CRC of each page from address `data` on, as words from `out` on
 *   memory: tables, see `TABLES`
 */

/** Where the module expects its tables: 12 of 256 words. */
const TABLES = 0

/** Tables 0 to 7: a byte followed by that many zero bytes. 8 to 11: byte 0 to 3 and half a page. */
export const TABLE_COUNT = 12

export const PAGE = 4096
export const HALF = PAGE / 2

const I32 = 0x7f
const VOID_BLOCK = 0x40

/** Opcodes, as the specification of WebAssembly names them. */
const Op = {
  LOOP: 0x03,
  END: 0x0b,
  BR_IF: 0x0d,
  LOCAL_GET: 0x20,
  LOCAL_SET: 0x21,
  LOCAL_TEE: 0x22,
  I32_LOAD: 0x28,
  I32_STORE: 0x36,
  I32_CONST: 0x41,
  I32_LT_U: 0x49,
  I32_ADD: 0x6a,
  I32_SUB: 0x6b,
  I32_AND: 0x71,
  I32_XOR: 0x73,
  I32_SHL: 0x74,
  I32_SHR_U: 0x76,
} as const

/** Magic and version. */
const PREAMBLE = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]

/** Parameters, then local variables. */
const Local = { PAGES: 0, DATA: 1, OUT: 2, END: 3, FIRST: 4, SECOND: 5, LOW: 6, HIGH: 7 } as const
const PARAMETERS = 3
const VARIABLES = 5

export function moduleCode(): Uint8Array<ArrayBuffer> {
  const type = [0x60, ...vector(Array.from({ length: PARAMETERS }, () => [I32])), 0]
  const memory = [...name('env'), ...name('memory'), 0x02, 0x00, 0x01]
  const body = [...vector([[VARIABLES, I32]]), ...pages(), Op.END]
  return Uint8Array.from([
    ...PREAMBLE,
    ...section(1, vector([type])),
    ...section(2, vector([memory])),
    ...section(3, vector([[0]])),
    ...section(7, vector([[...name('sums'), 0x00, 0]])),
    ...section(10, vector([[...unsigned(body.length), ...body]])),
  ])
}

/** do { one page; PAGES-- } while (PAGES != 0) */
function pages(): number[] {
  return lines(
    [Op.LOOP, VOID_BLOCK],
    page(),
    [...get(Local.OUT), ...constant(4), Op.I32_ADD, ...set(Local.OUT)],
    [...get(Local.DATA), ...constant(HALF), Op.I32_ADD, ...set(Local.DATA)],
    [...get(Local.PAGES), ...constant(1), Op.I32_SUB, ...tee(Local.PAGES)],
    [Op.BR_IF, 0, Op.END],
  )
}

/** DATA ends half a page further. */
function page(): number[] {
  return lines(
    [...constant(-1), ...set(Local.FIRST)],
    [...constant(0), ...set(Local.SECOND)],
    [...get(Local.DATA), ...constant(HALF), Op.I32_ADD, ...set(Local.END)],
    [Op.LOOP, VOID_BLOCK],
    step(Local.FIRST, 0),
    step(Local.SECOND, HALF),
    [...get(Local.DATA), ...constant(8), Op.I32_ADD, ...tee(Local.DATA)],
    [...get(Local.END), Op.I32_LT_U, Op.BR_IF, 0, Op.END],
    // The first half, as it is when half a page has followed, and the second one.
    get(Local.OUT),
    lookups(Local.FIRST, [8, 9, 10, 11]),
    [...get(Local.SECOND), Op.I32_XOR, ...constant(-1), Op.I32_XOR],
    [Op.I32_STORE, 2, 0],
  )
}

/** Eight bytes of one half, which begins `offset` bytes behind DATA. */
function step(crc: number, offset: number): number[] {
  return lines(
    [...get(Local.DATA), ...load(offset), ...get(crc), Op.I32_XOR, ...set(Local.LOW)],
    [...get(Local.DATA), ...load(offset + 4), ...set(Local.HIGH)],
    lookups(Local.LOW, [7, 6, 5, 4]),
    lookups(Local.HIGH, [3, 2, 1, 0]),
    [Op.I32_XOR, ...set(crc)],
  )
}

/** table[0][byte 0] ^ ... ^ table[3][byte 3] */
function lookups(word: number, tables: readonly number[]): number[] {
  return tables.flatMap((table, byte) => {
    const shifted = byte === 0 ? [] : [...constant(8 * byte), Op.I32_SHR_U]
    const masked = byte === 3 ? [] : [...constant(255), Op.I32_AND]
    const found = [...constant(2), Op.I32_SHL, ...load(TABLES + 1024 * table)]
    return [...get(word), ...shifted, ...masked, ...found, ...(byte === 0 ? [] : [Op.I32_XOR])]
  })
}

const lines = (...all: readonly (readonly number[])[]): number[] => all.flat()
const get = (local: number): number[] => [Op.LOCAL_GET, local]
const set = (local: number): number[] => [Op.LOCAL_SET, local]
const tee = (local: number): number[] => [Op.LOCAL_TEE, local]
const constant = (value: number): number[] => [Op.I32_CONST, ...signed(value)]
const load = (offset: number): number[] => [Op.I32_LOAD, 2, ...unsigned(offset)]

function section(id: number, content: readonly number[]): number[] {
  return [id, ...unsigned(content.length), ...content]
}

function vector(items: readonly (readonly number[])[]): number[] {
  return [...unsigned(items.length), ...items.flat()]
}

function name(text: string): number[] {
  return vector([...text].map((letter) => [letter.charCodeAt(0)]))
}

/** LEB128. */
function unsigned(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)]
}

function signed(value: number): number[] {
  const isLast = value >= -64 && value < 64
  return isLast ? [value & 127] : [(value & 127) | 128, ...signed(value >> 7)]
}
