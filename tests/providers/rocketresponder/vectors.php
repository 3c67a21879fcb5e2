<?php
// Works out every vector anew, by the steps of the provider's own PHP client: php vectors.php < vectors.json
$vectors = json_decode(stream_get_contents(STDIN), true);
foreach ($vectors as &$vector) {
    $data = [];
    foreach ($vector['params'] as [$name, $value]) {
        $data[$name] = $value;
    }
    $data = array_map('strval', $data);
    array_multisort($data, SORT_ASC, SORT_STRING);
    $vector['canonical_json'] = json_encode($data);
    $vector['hash'] = md5($vector['canonical_json']);
    $vector['signature'] = md5($vector['private_key'] . $vector['url'] . $vector['hash']);
    $vector['form_body'] = http_build_query($data);
}
echo json_encode($vectors, JSON_PRETTY_PRINT | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION), "\n";
