// Takes out of package-lock.json who asks for donations where: the file names no host.
import {readFileSync, writeFileSync} from 'node:fs'

const name = new URL('package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(name, 'utf8'))
for (const part of Object.values(lock.packages)) delete part.funding
writeFileSync(name, `${JSON.stringify(lock, null, 2)}\n`)
