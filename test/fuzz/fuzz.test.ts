/** Hostile client streams and texts, new ones in every run: docs/fuzzing.md. */
import test from 'ava'
import { seedFor } from '../helpers/random.ts'
import { campaign, readCorpus, replay } from './campaign.ts'
import { formatStream, parseStream } from './client-stream.ts'
import { configCampaign, descriptorCampaign } from './text-campaigns.ts'

const STREAMS = 20_000
const DESCRIPTORS = 5000
const CONFIGS = 2000

test('no stream crashes the server, is answered wrongly or harms another client', async (t) => {
  const { found, features } = await campaign(seedFor(t), STREAMS)
  if (found !== null) t.log(found.text.slice(0, 10_000))
  t.is(found?.error.stack, undefined)
  // Guided by what is seen: without that it would be some hundred.
  t.true(features > 1000, `${features} things seen`)
})

test('a server with a fault is found out, and the stream shows it again', async (t) => {
  const { found } = await campaign(1, STREAMS, { isFaulty: true })
  t.regex(found?.error.message ?? '', /wrong bytes/)
  t.not(await replay(found?.text ?? '', true), null)
  t.is(await replay(found?.text ?? '', false), null)
})

test('the corpus is read as it is written', (t) => {
  const streams = readCorpus()
  t.true(streams.length >= 30)
  for (const stream of streams) t.deepEqual(parseStream(formatStream(stream)), stream)
})

test('every descriptor is read as the naive reader does, or refused with its name', (t) => {
  t.is(descriptorCampaign(seedFor(t), DESCRIPTORS)?.text, undefined)
})

test('every configuration file is read, or refused with its name and nothing else', (t) => {
  t.is(configCampaign(seedFor(t), CONFIGS)?.text, undefined)
})
