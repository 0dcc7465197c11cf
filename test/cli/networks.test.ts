/** Networks beside a reference that compares bits one by one. */
import test from 'ava'
import { Networks } from '../../cli/access-rules.ts'
import { Random, seedFor } from '../helpers/random.ts'

const ROUNDS = 5000

interface Family {
  readonly bits: number
  text(bits: string): string
  remote(text: string): string
}

const IPV4: Family = {
  bits: 32,
  text: (bits) => numbersOf(bits, 8).join('.'),
  remote: (text) => `${text}:40000`,
}

/** An address of IPv4 as a socket for both has it. */
const MAPPED: Family = { ...IPV4, remote: (text) => `[::ffff:${text}]:40000` }

const IPV6: Family = {
  bits: 128,
  text: (bits) =>
    numbersOf(bits, 16)
      .map((each) => each.toString(16))
      .join(':'),
  remote: (text) => `[${text}]:40000`,
}

function numbersOf(bits: string, size: number): number[] {
  return Array.from({ length: bits.length / size }, (_, index) =>
    Number.parseInt(bits.slice(index * size, (index + 1) * size), 2),
  )
}

function randomBits(random: Random, count: number): string {
  return Array.from({ length: count }, () => (random.chance(0.5) ? '1' : '0')).join('')
}

for (const [name, family] of Object.entries({ IPV4, MAPPED, IPV6 })) {
  test(`${name}: who is in a network is said by its first bits`, (t) => {
    const random = new Random(seedFor(t))
    const counts = { inside: 0, outside: 0 }
    for (let round = 0; round < ROUNDS; round++) {
      const network = randomBits(random, family.bits)
      const prefix = random.between(0, family.bits)
      // Differs in one bit at the border, in all behind some bit, or not at all.
      const at = Math.min(family.bits, Math.max(0, prefix + random.between(-2, 2)))
      const flipped = network[at] === '1' ? '0' : '1'
      const rest = randomBits(random, family.bits)
      const address = (network.slice(0, at) + flipped + rest).slice(0, family.bits)
      const isInside = address.slice(0, prefix) === network.slice(0, prefix)
      counts[isInside ? 'inside' : 'outside']++
      const text = `${family.text(network)}/${prefix}`
      const remote = family.remote(family.text(address))
      if (new Networks([text]).has(remote) === isInside) continue
      return t.fail(`${remote} ${isInside ? 'is' : 'is not'} in ${text}`)
    }
    t.true(Math.min(counts.inside, counts.outside) > ROUNDS / 5)
  })
}
