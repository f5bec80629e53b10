"""test_scraping.py - what is documented for Prometheus and Grafana: queries, alerts and dashboard, against a server."""
import json
import os
import re
import shutil
import socket
import subprocess
import unittest
import urllib.error
import urllib.request

from harness import *

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

EXPORTER = shutil.which("prometheus-postgres-exporter")
QUERIES = os.path.join(ROOT, "docs/prometheus-queries.yml")


def text_of(name):
    with open(os.path.join(ROOT, "docs", name), encoding="utf-8") as file:
        return file.read()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Scraping(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster({"shared_preload_libraries": "chatglm", "max_connections": 20})
        cls.addClassCleanup(cls.cluster.remove)
        with cls.cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
            conn.execute("CREATE ROLE scraper LOGIN IN ROLE pg_monitor")
            wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up", 60)
            conn.execute("SELECT glm_generate('hello', max_tokens => 4, options => '{\"label\": \"day\"}')")
            with cls.assertRaises(cls(), psycopg.errors.InvalidParameterValue):
                conn.execute("SELECT glm_detokenize('{-1}')")
            cls.own = {s.name: s for f in parse_openmetrics(value("SELECT glm_metrics()", conn)) for s in f.samples}

    def scrape(self):
        """What the exporter gives, by names of samples: lists of (labels, value)."""
        port = free_port()
        exporter = subprocess.Popen(
            [EXPORTER, "--extend.query-path", QUERIES, "--disable-default-metrics", "--disable-settings-metrics",
             "--web.listen-address", f"127.0.0.1:{port}"],
            env={**os.environ, "DATA_SOURCE_NAME": f"host={self.cluster.base} port=5432 user=scraper dbname=postgres sslmode=disable"},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(exporter.stderr.close)
        self.addCleanup(exporter.wait)
        self.addCleanup(exporter.kill)

        def page():
            self.assertIsNone(exporter.poll(), "the exporter runs")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    return answer.read().decode()
            except urllib.error.URLError:
                return None

        samples = {}
        for family in parse_text(wait_until(page, "the exporter answers", 60)):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append(({k: v for k, v in sample.labels.items() if k != "server"}, sample.value))
        return samples

    @unittest.skipUnless(EXPORTER, "prometheus-postgres-exporter is not installed")
    def test_the_exporter_tells_what_the_function_does(self):
        found = self.scrape()
        self.assertEqual(found["chatglm_completed_total"], [({}, 1)])
        self.assertEqual(found["chatglm_completion_tokens_total"], [({}, 4)])
        self.assertEqual(found["chatglm_errors_total"], [({"stage": "reading", "sqlstate": "22023"}, 1)])
        self.assertEqual(found["chatglm_model_completed_total"], [({"model": "tiny-chatglm3"}, 1)])
        self.assertEqual(len(found["chatglm_stage_seconds_total"]), 11)
        self.assertEqual(found["chatglm_request_seconds_count"], [({}, 1)])
        self.assertLessEqual(set(self.own), set(found))

        def last_class(samples):
            return [v for labels, v in samples if labels["le"] == "+Inf"]

        self.assertEqual(last_class(found["chatglm_request_seconds_bucket"]), [1])
        self.assertAlmostEqual(found["chatglm_request_seconds_sum"][0][1], self.own["chatglm_request_seconds_sum"].value)

    def test_every_query_runs(self):
        queries = re.findall(r"query: >-\n((?:    .*\n)+)", text_of("prometheus-queries.yml"))
        self.assertGreater(len(queries), 8)
        with connect(host=self.cluster.base, port=5432, user="scraper", dbname="postgres") as conn:
            for query in queries:
                self.assertTrue(conn.execute(query).fetchall(), query)

    def test_alerts_and_dashboard_name_metrics_that_are_there(self):
        panels = json.loads(text_of("grafana-dashboard.json"))["panels"]
        places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels]
        self.assertEqual(len(places), len(set(places)))
        asked = [t["expr"] for p in panels for t in p["targets"]]
        asked += re.findall(r"expr: (?:>-\n)?((?:.*\n)+?)(?=        (?:for|labels):)", text_of("prometheus-alerts.yml"))
        self.assertEqual(len(asked) - sum(len(p["targets"]) for p in panels), text_of("prometheus-alerts.yml").count("alert:"))
        for expression in asked:
            names = re.findall(r"\bchatglm_[a-z_]+", expression)
            self.assertTrue(names, expression)
            self.assertLessEqual(set(names), set(self.own), expression)
            self.assertEqual(expression.count("("), expression.count(")"), expression)


if __name__ == "__main__":
    unittest.main()
