// An answer from node-postgres, token by token: the query's `row` events, not its promise.
const { Client, Query } = require('pg');

async function main(prompt) {
  const client = new Client();                      // what PGHOST, PGUSER, PGDATABASE and the like name
  await client.connect();
  try {
    await new Promise((resolve, reject) => {
      const query = client.query(new Query('SELECT token FROM glm_stream($1)', [prompt]));
      query.on('row', (row) => process.stdout.write(row.token));
      query.on('end', resolve);
      query.on('error', reject);
    });
    process.stdout.write('\n');
  } finally {
    await client.end();
  }
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
