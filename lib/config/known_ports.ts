/**
 * Ports by the names of their services: as the system has them registered, and
 * where it does not say, as everybody knows them.
 *
 * @module
 */

/** Where systems have their list. */
export const SERVICES_FILE = "/etc/services";

/** What people name, with the ports registered by IANA or, for the last ones, of their programs. */
const WELL_KNOWN: Readonly<Record<string, number>> = {
  ssh: 22,
  telnet: 23,
  smtp: 25,
  domain: 53,
  dns: 53,
  http: 80,
  kerberos: 88,
  pop3: 110,
  imap: 143,
  ldap: 389,
  https: 443,
  smb: 445,
  submissions: 465,
  submission: 587,
  ldaps: 636,
  imaps: 993,
  pop3s: 995,
  mssql: 1433,
  oracle: 1521,
  mqtt: 1883,
  docker: 2375,
  etcd: 2379,
  mysql: 3306,
  mariadb: 3306,
  rdp: 3389,
  nats: 4222,
  postgres: 5432,
  postgresql: 5432,
  amqps: 5671,
  amqp: 5672,
  vnc: 5900,
  redis: 6379,
  kubernetes: 6443,
  mqtts: 8883,
  cassandra: 9042,
  prometheus: 9090,
  kafka: 9092,
  elasticsearch: 9200,
  memcached: 11211,
  mongodb: 27017,
};

/**
 * The TCP port of what is called `name`, in whatever case.
 *
 * @param list The text of the system's list; undefined where there is none.
 */
export function portOf(name: string, list: string = ""): number | undefined {
  const wanted = name.toLowerCase();
  return registered(wanted, list) ??
    (Object.hasOwn(WELL_KNOWN, wanted) ? WELL_KNOWN[wanted] : undefined);
}

/** The port in a list as `services(5)` has it: a name, port/protocol, other names, perhaps a comment. */
function registered(wanted: string, list: string): number | undefined {
  for (const line of list.split("\n")) {
    const [name = "", port = "", ...aliases] = line.replace(/#.*$/s, "").trim()
      .split(/\s+/);
    const [, digits] = /^(\d{1,5})\/tcp$/i.exec(port) ?? [];
    if (digits === undefined) continue;
    const names = [name, ...aliases].map((one) => one.toLowerCase());
    const number = Number(digits);
    if (names.includes(wanted) && number >= 1 && number <= 65_535) {
      return number;
    }
  }
  return undefined;
}
